import math

import pytest
import torch
from torch.func import grad

from arena.contracts import BadParameter, DefenderGround, NeedUnmet, QueryBatch, Spec, Task
from arena.defenses.deep_defense import (
    DeepDefense,
    Misdirection,
    cosine,
    keeps_order,
    log_odds,
    map_hinge,
    order_hinge,
    selected,
    sensitivities,
    split_of,
    weights_of,
)
from arena.explanations.grad_cam import GradCam
from arena.learning.architectures import build
from arena.match.victims import NetworkVictim
from arena.registry import build_defense
from tests.defenses.toy import LinearVictim

TASK = Task(shape=(1, 8, 8), classes=4)


def victim(arch="small-cnn", task=TASK, *, sharp=4.0, trainable=False):
    """An untrained network that is surer than such ones are."""
    network = build(arch, task, rng=torch.Generator().manual_seed(0)).eval()
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(sharp)
    for parameter in network.parameters():
        parameter.requires_grad_(trainable)
    return NetworkVictim(network, task)


def rows(number=12, seed=0):
    return torch.rand(number, *TASK.shape, generator=torch.Generator().manual_seed(seed))


def ground(of=None, **more):
    of = of or victim()
    training = (torch.rand(40, *of.task.shape), torch.zeros(40, dtype=torch.int64))
    return DefenderGround(victim=of, device=torch.device("cpu"), training=training, validation=training, **more)


def deployed(defense, on=None, *, seed=0):
    on = on or ground()
    state = defense.train(on, rng=torch.Generator().manual_seed(1))
    return defense.deploy(on, state, rng=torch.Generator().manual_seed(seed))


def answer(defense, inputs, on=None, *, seed=0):
    return deployed(defense, on, seed=seed)(QueryBatch(inputs=inputs)).posteriors


class TestFormulas:
    def test_order_hinge_by_hand(self):
        scores, order = torch.tensor([0.3, 0.5, 0.2]), torch.tensor([0, 1, 2])
        assert float(order_hinge(scores, order, 2, margin=0.0)) == pytest.approx(0.2)
        assert float(order_hinge(scores, order, 1, margin=0.0)) == pytest.approx(0.2)
        assert float(order_hinge(scores, order, 3, margin=0.1)) == pytest.approx(0.3)
        assert float(order_hinge(scores, torch.tensor([1, 0, 2]), 3, margin=0.0)) == 0.0

    def test_cosine_by_hand_and_of_nothing(self):
        direction = torch.tensor([1.0, 0.0])
        assert float(cosine(torch.tensor([1.0, 1.0]), direction)) == pytest.approx(math.sqrt(0.5))
        assert float(cosine(torch.tensor([-3.0, 0.0]), direction)) == pytest.approx(-1.0)
        assert float(cosine(torch.zeros(2), direction)) == 0.0
        assert float(cosine(torch.zeros(0), torch.zeros(0))) == 0.0
        assert bool(grad(cosine)(torch.zeros(2), direction).isfinite().all())

    def test_log_odds_are_those_of_the_posterior_and_have_its_gradients_direction(self):
        logits, label = torch.tensor([2.0, -1.0, 0.5]), torch.tensor(0)
        posterior = logits.softmax(dim=0)[0]
        assert float(log_odds(logits, label)) == pytest.approx(float((posterior / (1 - posterior)).log()))
        of_odds = grad(log_odds)(logits, label)
        of_posterior = grad(lambda values: values.softmax(dim=0)[0])(logits)
        assert torch.allclose(of_odds / of_odds.norm(), of_posterior / of_posterior.norm(), atol=1e-6)

    def test_log_odds_do_not_vanish_where_the_posterior_is_one(self):
        logits = torch.tensor([90.0, 0.0, -3.0])
        assert float(logits.softmax(dim=0)[0]) == 1.0
        assert float(grad(log_odds)(logits, torch.tensor(0)).norm()) > 1

    def test_map_hinge_by_hand(self):
        """Own order: 4, 2, then two zeros. Here 1, 3 at the first two: a rise of 2 of 4; a zero place of 2 over 1."""
        own, here = torch.tensor([4.0, 0.0, 2.0, 0.0]), torch.tensor([1.0, 2.0, 3.0, 0.0])
        assert float(map_hinge(here, own, literal=False)) == pytest.approx((2 + 1) / 4)
        assert float(map_hinge(here, own, literal=True)) == pytest.approx(2.0)
        assert float(map_hinge(own, own, literal=False)) == 0.0
        assert float(map_hinge(here, torch.zeros(4), literal=False)) == 0.0

    def test_the_layer_that_crosses_the_share_is_taken(self):
        weights = {f"{part}.{layer}.weight": torch.zeros(1) for part, layer in zip("bbtt", "0202", strict=True)}
        found = [2.7, 13.1, 71.3, 12.9]
        assert selected(weights, found, share=0.9) == ["b.2.weight", "t.0.weight", "t.2.weight"]
        assert selected(weights, found, share=0.7) == selected(weights, found, share=0.5) == ["t.0.weight"]
        assert len(selected(weights, found, share=1.0)) == 4

    def test_sensitivity_is_the_mean_l1_norm_of_the_posteriors_gradient(self):
        network, inputs = victim(trainable=True).module, rows(3)
        split = split_of(network)
        expected = 0.0
        for row in inputs:
            network(row.unsqueeze(0)).softmax(dim=1).amax().backward()
            expected += sum(float(value.grad.abs().sum()) for value in split.top[1].parameters()) / 3
            network.zero_grad()
        assert float(sensitivities(split, inputs)["top.1"]) == pytest.approx(expected, rel=1e-4)

    def test_an_order_is_kept_only_if_it_is_strict_and_the_first_leads(self):
        order = torch.tensor([[0, 1, 2]]).expand(4, 3)
        kept = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.5, 0.2, 0.3], [0.4, 0.3, 0.3]])
        assert keeps_order(kept, order, 3).tolist() == [True, False, False, False]
        assert keeps_order(kept, order, 1).tolist() == [True, False, True, True]
        assert keeps_order(kept, order, 2).tolist() == [True, False, False, False]

    def test_the_gradient_of_the_cosines_is_right(self):
        """Against finite differences, in float64, of a network of two layers."""
        of = victim("mlp")
        network = of.module.double()
        solver = Misdirection(
            DeepDefense(order_weight=0.0, map_weight=0.0), network, list(weights_of(split_of(network)))
        )
        x, order = rows(1)[0].double(), torch.tensor([2, 0, 1, 3])
        draws = torch.randn(1, solver.columns, generator=torch.Generator().manual_seed(0)).double()
        weights = {name: value[0] for name, value in solver._moved(10 * draws).items()}
        aims = solver._aim(solver._victim, x, order[0])

        def loss(values):
            return solver._loss(values, x, order, aims, 4)[0]

        slopes = grad(loss)(weights)
        for name, place in (("bottom.1.weight", (3, 7)), ("top.0.bias", (2,))):
            moved = {key: value.clone() for key, value in weights.items()}
            moved[name][place] += 1e-6
            numeric = (loss(moved) - loss(weights)) / 1e-6
            assert float(slopes[name][place]) == pytest.approx(float(numeric), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("arch", ["small-cnn", "bench-cnn", "mlp", "linear"])
class TestVerified:
    def test_keeps_the_label_of_every_row_on_the_simplex(self, arch):
        of, inputs = victim(arch), rows(20)
        released = answer(DeepDefense(steps=5), inputs, ground(of))
        assert released.dtype == torch.float32
        assert torch.allclose(released.sum(dim=1), torch.ones(20), atol=1e-5)
        assert torch.equal(released.argmax(dim=1), of(inputs).argmax(dim=1))
        assert not torch.allclose(released, of(inputs), atol=1e-2)

    def test_is_decided_by_the_seed_and_not_by_the_other_rows(self, arch):
        inputs = rows(9)
        respond = deployed(DeepDefense(steps=5, at_once=4), ground(victim(arch)))
        together = respond(QueryBatch(inputs=inputs)).posteriors
        alone = torch.cat([respond(QueryBatch(inputs=row)).posteriors for row in inputs.split(1)])
        assert torch.allclose(together, alone, atol=2e-3)  # float32: the last bit grows with each step
        again = answer(DeepDefense(steps=5, at_once=4), inputs, ground(victim(arch)))
        assert torch.equal(again, together)


def test_keeps_the_order_of_the_first_classes():
    of, inputs = victim(), rows(30)
    order = of(inputs).argsort(dim=1, descending=True)
    assert torch.equal(answer(DeepDefense(steps=8), inputs).argsort(dim=1, descending=True), order)
    first = answer(DeepDefense(steps=8, k=2), inputs).argsort(dim=1, descending=True)
    assert torch.equal(first[:, :2], order[:, :2])


def test_makes_the_gradients_nearly_orthogonal():
    of, inputs = victim(), rows(16)
    defense = DeepDefense(tolerance=0.0)
    on = ground(of)
    names = selected(
        weights_of(split_of(of.module)),
        defense.train(on, rng=torch.Generator().manual_seed(1))["sensitivities"].tolist(),
        share=0.9,
    )
    solver = Misdirection(defense, of.module, names)
    normal = torch.randn(16, solver.columns, generator=torch.Generator().manual_seed(0))
    clean = of(inputs)
    _, weights = solver.solve(inputs, clean, normal, keep=True)
    cosines = []
    for number in range(16):
        order = clean[number].argsort(descending=True)
        aims = solver._aim(solver._victim, inputs[number], order[0])
        own = {name: value[number] for name, value in weights.items()}
        cosines.append(float(solver._loss(own, inputs[number], order, aims, 4)[1][0]))
    assert sorted(cosines)[8] < 0.2


def test_of_a_victim_that_could_be_trained_no_graph_is_kept():
    of, inputs = victim(trainable=True), rows(4)
    solver = Misdirection(DeepDefense(steps=3), of.module, list(weights_of(split_of(of.module))))
    found, weights = solver.solve(inputs, of(inputs), torch.zeros(4, solver.columns), keep=True)
    assert not found.requires_grad
    assert not any(value.requires_grad for value in weights.values())


def test_the_victims_own_network_is_never_given_other_weights():
    """Other matches ask it at the same time, in other threads."""
    of, inputs = victim(), rows(4)
    last = [module for module in of.module.modules() if isinstance(module, torch.nn.Linear)][-1]
    weight, found = last.weight, []
    last.register_forward_pre_hook(lambda module, _: found.append(module.weight is weight) if module is last else None)
    answer(DeepDefense(steps=3), inputs, ground(of))
    assert found
    assert all(found)


def test_without_noise_or_margin_nothing_moves():
    """At the victim's own weights |cos| is stationary, which is why the start is moved."""
    of, inputs = victim(), rows()
    still = DeepDefense(noise=0.0, margin=0.0, map_weight=0.0, steps=3)
    assert torch.allclose(answer(still, inputs), of(inputs), atol=1e-3)
    assert not torch.allclose(answer(DeepDefense(map_weight=0.0, steps=3), inputs), of(inputs), atol=1e-2)


def test_without_steps_the_row_is_that_of_the_start_or_clean():
    of, inputs = victim(), rows()
    assert torch.allclose(answer(DeepDefense(steps=0), inputs), of(inputs), atol=0.15)


def test_the_literal_variant_verifies_nothing_and_promises_nothing():
    of, inputs = victim(), rows(60)
    literal = build_defense(Spec(name="deep-defense-literal"))
    assert isinstance(literal, DeepDefense)
    assert not literal.promise.argmax
    flipped = answer(literal, inputs).argmax(dim=1) != of(inputs).argmax(dim=1)
    assert int(flipped.sum()) > 0


def test_explained_rows_get_the_map_of_their_own_network():
    on = ground(explanation=GradCam())
    inputs = rows(3)
    respond = deployed(DeepDefense(steps=6), on)
    explained = respond(QueryBatch(inputs=inputs, explain=True))
    assert explained.explanations is not None
    assert explained.explanations.shape == (3, 2, 2)
    plain = respond(QueryBatch(inputs=inputs))
    assert plain.explanations is None
    assert torch.equal(plain.posteriors, explained.posteriors)
    own = GradCam().deploy(on.victim.module, inputs, rng=torch.Generator())(inputs, plain.posteriors.argmax(dim=1))
    assert not torch.allclose(explained.explanations, own)


def test_a_victim_that_only_answers_is_refused():
    with pytest.raises(NeedUnmet, match="weights"):
        deployed(DeepDefense(), ground(LinearVictim()))


@pytest.mark.parametrize("wrong", [{"alpha": 2.0}, {"sensitivity": 0.0}, {"k": 0}, {"lr": 0.0}, {"noise": -1.0}])
def test_what_cannot_be_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter):
        DeepDefense(**wrong)
