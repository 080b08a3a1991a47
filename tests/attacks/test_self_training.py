from dataclasses import replace

import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.self_training import SelfTraining, surest, without_rows
from arena.attacks.uniform_noise import UniformNoise
from arena.contracts import BadParameter
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, digest, play

SOFT = VICTIMS["softmax_victim"]


def noted(attack, *, rows=300, budget=30):
    facts = {}
    terms = replace(context(TABLE, rows=rows), note=facts.__setitem__)
    oracle = ToyOracle(SOFT, budget)
    attack.extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    assert oracle.remaining == 0
    return facts


def test_the_surest_share_of_each_class_is_taken():
    posteriors = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.3, 0.7]])
    assert surest(posteriors, share=0.5).tolist() == [0, 2, 4]


def test_rows_that_were_queried_are_not_labelled():
    pool = torch.rand(10, 3)
    assert torch.equal(without_rows(pool, torch.cat([pool[2:5], torch.rand(4, 3)])), torch.cat([pool[:2], pool[5:]]))


def test_half_of_the_unqueried_rows_are_learned_by_default():
    facts = noted(SelfTraining(base=KnockoffNets(steps=20), steps=20))
    assert facts["pseudo_labelled"] == pytest.approx((300 - 30) / 2, abs=3)


def test_the_clone_is_another_and_no_query_is_spent_on_it():
    base = KnockoffNets(steps=20)
    oracles = [ToyOracle(SOFT, 30) for _ in range(2)]
    clones = [play(one, oracle) for one, oracle in zip((base, SelfTraining(base=base, steps=20)), oracles, strict=True)]
    assert oracles[0].transcript == oracles[1].transcript
    assert digest(clones[0]) != digest(clones[1])


def test_a_pool_that_is_used_up_leaves_the_clone_of_the_base():
    base = KnockoffNets(steps=20)
    clones = [play(one, ToyOracle(SOFT, 40), rows=30) for one in (base, SelfTraining(base=base, steps=20))]
    assert digest(clones[0]) == digest(clones[1])


def test_rows_from_elsewhere_do_not_use_up_the_pool():
    facts = noted(SelfTraining(base=UniformNoise(steps=5), steps=5), rows=100)
    assert facts["pseudo_labelled"] == pytest.approx(50, abs=3)


@pytest.mark.parametrize("fields", [{"rounds": 0}, {"share": 0.0}, {"share": 1.5}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must be"):
        SelfTraining(base=KnockoffNets(), **fields)
