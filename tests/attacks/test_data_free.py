import math
from dataclasses import replace

import pytest
import torch

from arena.attacks.argmax import Argmax
from arena.attacks.data_free import DataFreeExtraction, disagreement, sphere_gradient
from arena.attacks.parts.generators import generator, pixels
from arena.contracts import BadParameter, Spec
from arena.registry import build_attack
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, Untouchable, context, digest, play

SOFT = VICTIMS["softmax_victim"]


def attack(variant="dfme", **fields):
    return DataFreeExtraction(variant=variant, **{"steps": 5, **fields})


def softmax_pair(columns):
    random = torch.Generator().manual_seed(3)
    return (torch.randn(columns, 4, generator=random, dtype=torch.float64) for _ in range(2))


def test_a_round_costs_what_the_papers_say():
    maze = {"batch": 128, "directions": 10, "clone_steps": 5}
    assert attack("maze", **maze).round_rows == 1920
    assert attack("dfme", batch=256).round_rows == 1792
    assert attack("dfme").round_rows == 112


@pytest.mark.parametrize(("variant", "calls"), [("dfme", [32, 16, 16, 16, 16, 16]), ("maze", [32, 16, 16, 16, 16])])
def test_asks_whole_rounds_and_spends_what_is_left_on_samples(variant, calls):
    oracle = ToyOracle(SOFT, 2 * sum(calls) + 40, IMAGES)
    play(attack(variant), oracle)
    assert [len(call) for call in oracle.calls] == [*calls, *calls, 40]
    assert len(set(oracle.digests)) == oracle.rows


def test_a_budget_below_one_round_buys_nothing():
    oracle = ToyOracle(SOFT, 111, IMAGES)
    play(attack(), oracle)
    assert not oracle.calls


def test_the_pool_is_not_looked_at():
    terms = replace(context(IMAGES), pool=context(IMAGES).pool.as_subclass(Untouchable))
    oracle = ToyOracle(SOFT, 150, IMAGES)
    attack().extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    assert oracle.remaining == 0


def test_divergence_and_recovered_logits_by_hand():
    rows = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    # 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75), and log 2
    assert disagreement(logits, rows, variant="maze").tolist() == pytest.approx([0.143841, math.log(2)], abs=1e-5)
    # recovered (0, 0), and (log 1 - log 1e-6) / 2 = 6.907755 up and down
    assert disagreement(logits, rows, variant="dfme").tolist() == pytest.approx([math.log(3) / 2, 6.907755], abs=1e-5)


@pytest.mark.parametrize("variant", ["maze", "dfme"])
def test_logits_up_to_a_constant_agree_with_themselves(variant):
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    logits = logits - logits.mean(dim=1, keepdim=True)
    assert disagreement(logits, (logits + 3).softmax(dim=1), variant=variant).abs().max() < 1e-5


def test_one_difference_by_hand():
    losses, directions = torch.tensor([[2.0, 2.5, 1.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert sphere_gradient(losses, directions, step=0.1).tolist() == [[5.0, -10.0]]  # D / m = 1


@pytest.mark.parametrize("variant", ["maze", "dfme"])
def test_many_directions_estimate_the_true_gradient(variant):
    victim, clone = softmax_pair(20)
    point = torch.rand(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)

    def loss(inputs):
        return disagreement(inputs @ clone, (inputs @ victim).softmax(dim=1), variant=variant)

    true = torch.autograd.grad(loss(point).sum(), point)[0]
    random = torch.Generator().manual_seed(1)
    directions = torch.randn(1, 20_000, 20, generator=random, dtype=torch.float64)
    directions = directions / directions.norm(dim=2, keepdim=True)
    around = (point.detach().unsqueeze(1) + 1e-5 * directions)[0]
    losses = torch.cat([loss(point.detach()), loss(around)]).unsqueeze(0)
    found = sphere_gradient(losses, directions, step=1e-5)
    assert float(torch.cosine_similarity(found, true)) >= 0.99
    assert float(found.norm() / true.norm()) == pytest.approx(1, abs=0.03)


def test_labels_leave_the_generator_where_it_was_and_train_the_clone():
    oracle = ToyOracle(VICTIMS["labels"], 300, IMAGES)
    play(attack(), oracle)
    assert [len(call) for call in oracle.calls] == [32, *[16] * 5, *[16] * 7, 76]


def test_coarse_answers_are_asked_for_further_away():
    oracle = ToyOracle(lambda inputs: SOFT(inputs).round(decimals=1), 224, IMAGES)
    play(attack(), oracle)
    fine, coarse = (oracle.calls[number].reshape(16, 2, -1) for number in (0, 6))
    apart = [float((pair[:, 1] - pair[:, 0]).norm(dim=1).mean()) for pair in (fine, coarse)]
    assert apart[0] < 1e-3
    assert apart[1] > 1e-2


def test_a_victim_that_is_sure_and_not_rounded_stays_on_the_small_step():
    oracle = ToyOracle(lambda inputs: (3 * SOFT(inputs).log()).softmax(dim=1), 224, IMAGES)
    play(attack(), oracle)
    pair = oracle.calls[6].reshape(16, 2, -1)
    assert float((pair[:, 1] - pair[:, 0]).norm(dim=1).mean()) < 1e-3


@pytest.mark.parametrize("task", [IMAGES, TABLE, replace(IMAGES, shape=(3, 9, 5))])
def test_samples_fit_the_task_and_fill_its_range(task):
    made = generator(task, 16)(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
    assert made.shape == (64, *task.shape)
    inputs = pixels(made.detach())
    assert 0 <= float(inputs.min()) < 0.2
    assert 0.8 < float(inputs.max()) <= 1


def test_the_generator_finds_disagreement():
    """With a clone that does not learn, its samples become those on which the clone is wrong."""
    seen = []

    def listening(inputs):
        seen.append(inputs)
        return SOFT(inputs)

    oracle = ToyOracle(listening, 80 * 24, TABLE)
    terms = {
        "batch": 8,
        "directions": 1,
        "clone_steps": 1,
        "replays": 0,
        "clone_rate": 1e-9,
        "generator_rate": 1e-2,
        "steps": 0,
    }
    clone = play(attack("maze", **terms), oracle)
    gaps = [float(disagreement(clone(rows).detach(), SOFT(rows), variant="maze").mean()) for rows in seen]
    assert sum(gaps[-20:]) > 1.1 * sum(gaps[:20])


def test_the_papers_constants_are_fields():
    terms = {"clone_optimiser": "sgd", "clone_rate": 0.1, "batch": 4, "latent": 100, "replays": 0}
    for more in ({"generator_optimiser": "sgd", "schedule": "cosine"}, {"schedule": "steps"}):
        oracle = ToyOracle(SOFT, 120, IMAGES)
        play(attack(**terms, **more), oracle)
        assert oracle.remaining == 0


def test_rates_fall_as_in_the_papers():
    steps, cosine = attack(schedule="steps"), attack(schedule="cosine")
    assert [steps.rate_factor(part) for part in (0, 0.1, 0.3, 0.5)] == pytest.approx([1, 0.3, 0.09, 0.027])
    assert [cosine.rate_factor(part) for part in (0, 0.5)] == pytest.approx([1, 0.5])


def test_two_names_for_two_variants():
    assert [build_attack(Spec(name=name)).variant for name in ("maze", "dfme")] == ["maze", "dfme"]


def test_argmax_of_it_is_it_on_labels():
    clones = [
        play(one, ToyOracle(victim, 150, IMAGES))
        for one, victim in ((Argmax(base=attack()), SOFT), (attack(), VICTIMS["labels"]))
    ]
    assert digest(clones[0]) == digest(clones[1])


@pytest.mark.parametrize("variant", ["dfme", "maze"])
class TestTheClone:
    def test_is_trained_on_the_whole_transfer_set_at_the_end(self, variant):
        """A clone of the rounds has taken a few dozen steps, most of them on one batch."""

        def fidelity(steps):
            clone = play(attack(variant, steps=steps, batch=8), ToyOracle(SOFT, 200, TABLE))
            rows = context(TABLE).pool
            return float((clone(rows).argmax(dim=1) == SOFT(rows).argmax(dim=1)).float().mean())

        assert fidelity(600) > fidelity(0) + 0.1

    def test_of_the_rounds_is_returned_without_steps_at_the_end(self, variant):
        oracles = [ToyOracle(SOFT, 150, IMAGES) for _ in range(2)]
        clones = [play(attack(variant, steps=steps), oracle) for steps, oracle in zip((0, 5), oracles, strict=True)]
        assert oracles[0].transcript == oracles[1].transcript
        assert digest(clones[0]) != digest(clones[1])

    def test_has_its_steps_in_the_result(self, variant):
        facts = {}
        rounds = attack(variant, replays=2)
        terms = replace(context(IMAGES), note=facts.__setitem__)
        rounds.extract(ToyOracle(SOFT, 2 * rounds.round_rows, IMAGES), terms, rng=torch.Generator().manual_seed(0))
        assert facts == {"loop_steps": 2 * (5 + 2), "final_steps": 5}

    def test_of_the_rounds_is_returned_where_no_time_is_left(self, variant):
        facts = {}
        terms = replace(context(IMAGES), note=facts.__setitem__, time_left=iter([1.0, *[0.0] * 9]).__next__)
        attack(variant).extract(ToyOracle(SOFT, 300, IMAGES), terms, rng=torch.Generator().manual_seed(0))
        assert "final_steps" not in facts


def test_a_batch_of_one_cannot_be_normalised():
    with pytest.raises(BadParameter, match="batch"):
        attack(batch=1)
