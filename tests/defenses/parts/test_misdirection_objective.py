import math

import pytest
import torch
from torch.func import grad

from arena.defenses.parts.misdirection_objective import cosine, inner, keeps_order, log_odds, map_hinge, order_hinge


def test_order_hinge_by_hand():
    scores, order = torch.tensor([0.3, 0.5, 0.2]), torch.tensor([0, 1, 2])
    assert float(order_hinge(scores, order, 2, margin=0.0)) == pytest.approx(0.2)
    assert float(order_hinge(scores, order, 1, margin=0.0)) == pytest.approx(0.2)
    assert float(order_hinge(scores, order, 3, margin=0.1)) == pytest.approx(0.3)
    assert float(order_hinge(scores, torch.tensor([1, 0, 2]), 3, margin=0.0)) == 0.0


def test_cosine_by_hand_and_of_nothing():
    others = torch.tensor([[1.0, 1.0], [-3.0, 0.0], [0.0, 0.0]]).requires_grad_()
    found = cosine({"a": others}, {"a": torch.tensor([[2.0, 0.0]]).expand(3, 2)})
    assert found.tolist() == pytest.approx([math.sqrt(0.5), -1.0, 0.0])
    assert bool(torch.autograd.grad(found.sum(), others)[0].isfinite().all())


def test_the_inner_product_of_outer_products_is_that_of_the_matrices():
    first, second = (
        {
            "b": torch.tensor([[float(sign), 2.0]]),
            "w.delta": torch.tensor([[1.0, sign]]),
            "w.row": torch.tensor([[2.0, 3.0, sign]]),
        }
        for sign in (1, -1)
    )
    matrices = [one["w.delta"][0].outer(one["w.row"][0]) for one in (first, second)]
    assert float(inner(first, second)) == pytest.approx(3.0 + float((matrices[0] * matrices[1]).sum()))


def test_log_odds_are_those_of_the_posterior_and_have_its_gradients_direction():
    logits, label = torch.tensor([2.0, -1.0, 0.5]), torch.tensor(0)
    posterior = logits.softmax(dim=0)[0]
    assert float(log_odds(logits, label)) == pytest.approx(float((posterior / (1 - posterior)).log()))
    of_odds = grad(log_odds)(logits, label)
    of_posterior = grad(lambda values: values.softmax(dim=0)[0])(logits)
    assert torch.allclose(of_odds / of_odds.norm(), of_posterior / of_posterior.norm(), atol=1e-6)


def test_log_odds_do_not_vanish_where_the_posterior_is_one():
    logits = torch.tensor([90.0, 0.0, -3.0])
    assert float(logits.softmax(dim=0)[0]) == 1.0
    assert float(grad(log_odds)(logits, torch.tensor(0)).norm()) > 1


def test_map_hinge_by_hand():
    """Own order: 4, 2, then two zeros. Here 1, 3 at the first two: a rise of 2 of 4; a zero place of 2 over 1."""
    own, here = torch.tensor([4.0, 0.0, 2.0, 0.0]), torch.tensor([1.0, 2.0, 3.0, 0.0])
    assert float(map_hinge(here, own, literal=False)) == pytest.approx((2 + 1) / 4)
    assert float(map_hinge(here, own, literal=True)) == pytest.approx(2.0)
    assert float(map_hinge(own, own, literal=False)) == 0.0
    assert float(map_hinge(here, own, literal=False, signed=True)) == pytest.approx(2.0 / float(own.abs().max()))
    mirrored = -own.flip(0)  # an order among negative values too
    assert float(map_hinge(mirrored, mirrored, literal=False, signed=True)) == 0.0
    assert float(map_hinge(-mirrored, mirrored, literal=False, signed=True)) > 0.0
    assert float(map_hinge(here, torch.zeros(4), literal=False)) == 0.0


def test_an_order_is_kept_only_if_it_is_strict_and_the_first_leads():
    order = torch.tensor([[0, 1, 2]]).expand(4, 3)
    kept = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.5, 0.2, 0.3], [0.4, 0.3, 0.3]])
    assert keeps_order(kept, order, 3).tolist() == [True, False, False, False]
    assert keeps_order(kept, order, 1).tolist() == [True, False, True, True]
    assert keeps_order(kept, order, 2).tolist() == [True, False, False, False]
