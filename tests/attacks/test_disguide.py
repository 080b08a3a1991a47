import math
import statistics
from dataclasses import replace

import pytest
import torch

from arena.attacks.disguide import DisGuide, disagreement, negative_balance
from arena.contracts import BadParameter, Spec
from arena.learning.architectures import build
from arena.registry import build_attack
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, Untouchable, context, digest, play

SOFT = VICTIMS["softmax_victim"]


def attack(**fields):
    return DisGuide(**{"steps": 5, "batch": 16, "replays": 1, "replayed": 16, **fields})


def test_disagreement_and_balance_by_hand():
    pair = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    assert float(disagreement(pair)) == pytest.approx(0.4 / math.sqrt(2), abs=1e-6)
    # the mean posterior is (.7, .3)
    assert float(negative_balance(pair)) == pytest.approx(0.7 * math.log(0.7) + 0.3 * math.log(0.3), abs=1e-4)


def test_balance_is_of_the_mean_and_not_of_each_row():
    sure = torch.eye(4).expand(2, 4, 4)
    assert float(negative_balance(sure)) == pytest.approx(-math.log(4), abs=1e-4)


@pytest.mark.parametrize("budget", [1, 15, 16, 17, 100])
def test_spends_every_unit_and_queries_no_row_twice(budget):
    oracle = ToyOracle(SOFT, budget, IMAGES)
    play(attack(), oracle)
    assert oracle.remaining == 0
    assert [len(call) for call in oracle.calls] == [16] * (budget // 16) + [budget % 16] * bool(budget % 16)
    assert len(set(oracle.digests)) == oracle.rows


def test_the_pool_is_not_looked_at():
    terms = replace(context(IMAGES), pool=context(IMAGES).pool.as_subclass(Untouchable))
    oracle = ToyOracle(SOFT, 40, IMAGES)
    attack().extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    assert oracle.remaining == 0


def test_the_generator_finds_disagreement():
    """With clones that do not learn, its samples become those on which the two differ more."""
    oracle = ToyOracle(SOFT, 1_600, TABLE)
    still = attack(arch="linear", clone_rate=1e-12, generator_rate=1e-2, generator_steps=5, balance=0.0, replays=0)
    play(still, oracle)
    random = torch.Generator().manual_seed(0)
    clones = [build("linear", TABLE, rng=random) for _ in range(2)]
    gaps = [
        float(disagreement(torch.stack([clone(rows).softmax(dim=1) for clone in clones])).detach())
        for rows in oracle.calls
    ]
    early, late = gaps[:10], gaps[-40:]
    assert statistics.mean(late) > statistics.mean(early) + 5 * statistics.stdev(late) / len(late) ** 0.5


def test_an_untrained_generator_is_a_control():
    clones = [play(attack(generator_steps=steps), ToyOracle(SOFT, 64, IMAGES)) for steps in (0, 1)]
    assert digest(clones[0]) != digest(clones[1])


def test_refused_rows_teach_nothing():
    refused = ToyOracle(lambda inputs: torch.zeros(len(inputs), 4), 48, IMAGES)
    taught_nothing = play(attack(steps=0, replays=0), refused)
    assert digest(taught_nothing) == digest(build("auto", IMAGES, rng=torch.Generator().manual_seed(0)))


def test_labels_are_no_special_case():
    oracle = ToyOracle(VICTIMS["labels"], 64, IMAGES)
    play(attack(), oracle)
    assert [len(call) for call in oracle.calls] == [16] * 4


def test_facts_of_the_result_are_its_steps():
    facts = {}
    terms = replace(context(IMAGES), note=facts.__setitem__)
    attack(replays=2).extract(ToyOracle(SOFT, 32, IMAGES), terms, rng=torch.Generator().manual_seed(0))
    assert facts == {"loop_steps": 2 * 2 * (1 + 2), "final_steps": 5}


def test_dual_students_have_no_term_for_balance():
    assert build_attack(Spec(name="dual-students")) == DisGuide(balance=0.0)


@pytest.mark.parametrize("fields", [{"batch": 1}, {"latent": 0}, {"replays": -1}, {"clone_rate": 0.0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match=r"at least|more than"):
        attack(**fields)
