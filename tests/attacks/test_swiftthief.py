import math

import pytest
import torch
from torch.nn.functional import one_hot

from arena.attacks.parts.rounds import Unqueried
from arena.attacks.parts.transfer_set import TransferSet
from arena.attacks.swiftthief import (
    Projected,
    Siamese,
    SwiftThief,
    alignment,
    class_costs,
    class_counts,
    log_density,
    pair_weights,
    rare_first,
    rarest,
    sharpened,
    soft_supervised,
)
from arena.contracts import BadParameter
from arena.learning.architectures import build
from arena.learning.tensors import row_digests
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, context, play

FEW = {"steps": 5, "steps_inner": 5, "epochs": 1, "last_epochs": 1, "unlabelled": 200, "more_unlabelled": 0}
EAST, NORTH = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pair_weights_by_hand():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.9, 0.1], [0.0, 0.0]])
    weights = pair_weights(rows)
    assert weights[0].tolist() == pytest.approx([1, 1, 0, 0, 0.53100 * 0.99388, 0], abs=1e-4)
    assert weights[3].tolist() == pytest.approx([0] * 6, abs=1e-6)  # an even row says nothing
    assert float(weights[4, 4]) == pytest.approx(0.282, abs=1e-3)  # (1 - 0.469)^2
    assert weights[5].tolist() == [0] * 6  # nor does a refused one
    assert bool((weights >= 0).all())


def test_alignment_by_hand():
    equal, crossed = Projected(z=EAST, p=EAST), Projected(z=NORTH, p=EAST)
    assert float(alignment(equal, equal)) == pytest.approx(-1)
    assert float(alignment(equal, crossed)) == pytest.approx(-0.5)  # cos(p1, z2) = 0, cos(p2, z1) = 1
    assert float(alignment(equal, equal, weights=torch.tensor([0.3]))) == pytest.approx(-0.3)


def test_the_target_side_has_no_gradient():
    z, p = EAST.clone().requires_grad_(True), NORTH.clone().requires_grad_(True)
    (alignment(Projected(z=z, p=p), Projected(z=z, p=p)) + soft(Projected(z=z, p=p), [[1.0, 0.0]])).backward()
    assert z.grad is None
    assert p.grad is not None


def soft(view, released):
    return soft_supervised(view, view, torch.tensor(released))


def test_the_soft_supervised_loss_by_hand():
    view = Projected(z=torch.cat([EAST, NORTH]), p=torch.cat([EAST, EAST]))
    # The rows are seen twice: p = E, E, E, E looks at z = E, N, E, N. Rows of other classes weigh nothing: 0 and 2 see
    # each other at cos 1, 1 and 3 at cos 0, which the mean leaves out.
    assert float(soft(view, [[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(-1)
    tilted = Projected(z=torch.cat([EAST, EAST]), p=torch.cat([EAST, EAST + NORTH * 2 / 3]))
    # One class: twelve pairs, six of them at cos 1 and six at the cosine of 45 degrees.
    assert float(soft(tilted, [[1.0, 0.0], [1.0, 0.0]])) == pytest.approx(-(1 + math.sqrt(0.5)) / 2)


def test_no_view_is_compared_with_itself():
    one, other = Projected(z=EAST, p=EAST), Projected(z=EAST + NORTH * 2 / 3, p=NORTH)
    # p1 and z2 are 45 degrees apart, p2 and z1 at a right angle; p1 and z1 would be at cos 1.
    assert float(soft_supervised(one, other, torch.tensor([[1.0, 0.0]]))) == pytest.approx(-math.sqrt(0.5))


def test_even_answers_leave_no_pair_and_no_nan():
    assert float(soft(Projected(z=EAST, p=EAST), [[0.5, 0.5]])) == 0.0


def test_class_costs_by_hand():
    # Raw: 1 and 0.01 / (1 - 0.99^10) = 0.1046.
    assert class_costs(torch.tensor([0.0, 9.0]), beta=0.99).tolist() == pytest.approx([0.9053, 0.0947], abs=1e-3)


def test_the_policy_turns_to_rare_classes_when_little_is_left():
    counts = torch.tensor([10.0, 10.0, 1.0])  # mean 7, gap 6
    assert rare_first(counts, 5)
    assert rare_first(counts, 6)
    assert not rare_first(counts, 7)
    assert not rare_first(torch.tensor([4.0, 4.0]), 1)  # no class is rare


def test_the_rarest_class_is_one_that_was_seen():
    assert rarest(torch.tensor([5.0, 0.0, 2.0, 2.0])) == 2
    refused = torch.tensor([[0.7, 0.3], [0.0, 0.0], [0.2, 0.8], [0.1, 0.9]])
    assert class_counts(refused).tolist() == [1, 2]


def test_the_density_by_hand():
    points, centres = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    # Bandwidth 1/2: exp(0) + exp(-1 / (2 / 4)) = 1 + e^-2 at both.
    assert log_density(points, centres, bandwidth=0.5).tolist() == pytest.approx([math.log(1 + math.exp(-2))] * 2)


def test_a_sharpened_view_is_less_like_the_other_and_no_further_than_the_radius():
    siamese = Siamese(build("mlp", TABLE, rng=rng()), TABLE, projection=16, rng=rng(1))
    one, other = (torch.rand(20, 6, generator=rng(seed)) for seed in (2, 3))
    siamese.train()(one)  # gives the running statistics something
    moved = sharpened(siamese, one, other, radius=0.01)
    assert float((moved - one).abs().max()) == pytest.approx(0.01, abs=1e-6)
    with torch.no_grad():
        target = siamese(other)
        assert float(alignment(siamese(moved), target)) > float(alignment(siamese(one), target))
    assert all(parameter.grad is None for parameter in siamese.parameters())


def test_the_representation_of_a_class_draws_together():
    """Nothing but the contrastive phase, on rows of two answers."""
    clone = build("mlp", TABLE, rng=rng()).eval()
    siamese = Siamese(clone, TABLE, projection=16, rng=rng(1))
    oracle = ToyOracle(lambda rows: one_hot((rows[:, 0] > 0.5).long(), 3).float(), 200)
    bought = TransferSet(oracle)
    bought.extend(context(rows=200).pool)
    first = bought.released[:, 1] > 0

    def likeness():
        with torch.no_grad():
            z = torch.nn.functional.normalize(siamese.eval()(bought.inputs).z)
        return float((z[first] @ z[first].T).mean() - (z[first] @ z[~first].T).mean())

    before = likeness()
    attack = SwiftThief(epochs=12, corruption=0.1)
    attack._represent(siamese, context(rows=500).pool, bought, context(), 0, last=False, rng=rng(2))
    assert likeness() > before + 0.3
    assert not clone.training


def test_rounds_share_the_budget_and_every_row_is_asked_once():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 103)
    play(SwiftThief(rounds=4, **FEW), oracle)
    assert [len(call) for call in oracle.calls] == [25, 26, 26, 26]
    assert len(set(oracle.digests)) == 103


def test_rare_classes_are_asked_in_parts_of_the_last_share():
    oracle = ToyOracle(VICTIMS["always_first"], 100)
    play(SwiftThief(rounds=4, sub_rounds=5, **FEW), oracle)
    # 25 of one class: the two others are 8.3 short each, in sum 16.7; later 33.3 with 50 left, and 50 with 25 left.
    assert [len(call) for call in oracle.calls] == [25, 25, 25, 5, 5, 5, 5, 5]


def test_a_rare_class_is_looked_for_near_its_own_rows():
    """One row in 25 lies in the corner of a rare class, of which three were asked."""
    pool = torch.cat([torch.rand(40, 6, generator=rng(1)) * 0.2, 0.5 + torch.rand(960, 6, generator=rng(2)) / 2])
    oracle = ToyOracle(lambda rows: one_hot((rows.mean(dim=1) > 0.3).long(), 3).float(), 100)
    bought, unasked = TransferSet(oracle), Unqueried(pool, rng=rng())
    bought.extend(unasked.take(torch.tensor([0, 1, 2, *range(500, 560)])))
    clone = build("mlp", TABLE, rng=rng()).eval()
    SwiftThief(sub_rounds=3)._query(20, clone, pool, unasked, bought, left=20)
    assert [len(call) for call in oracle.calls] == [63, 6, 7, 7]
    assert bool((bought.inputs[63:].mean(dim=1) < 0.3).all())
    assert len(set(oracle.digests)) == 83


def test_a_pool_smaller_than_the_budget_is_asked_whole():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 50, IMAGES)
    play(SwiftThief(**FEW), oracle, rows=30)
    assert sorted(oracle.digests) == sorted(row_digests(context(IMAGES, rows=30).pool))


@pytest.mark.parametrize("arch", ["linear", "lenet", "mlp"])
def test_any_architecture_has_a_representation(arch):
    images = type(IMAGES)(shape=(1, 16, 16), classes=4)
    oracle = ToyOracle(VICTIMS["softmax_victim"], 20, images)
    play(SwiftThief(arch=arch, **FEW), oracle, rows=100)
    assert oracle.remaining == 0


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"batch": 1}, {"crop": 0.0}, {"beta": 1.0}, {"projection": 2}])
def test_a_value_that_leaves_nothing_to_contrast_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter, match=r"at least|lie in"):
        SwiftThief(**wrong)
