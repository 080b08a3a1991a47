import torch

from arena.attacks.knockoff import KnockoffNets
from arena.learning.tensors import row_digests
from arena.learning.training import predict
from tests.attacks.toy import VICTIMS, ToyOracle, context, play


def test_a_budget_as_large_as_the_pool_asks_a_permutation_of_it():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 50)
    play(KnockoffNets(steps=5), oracle, rows=50)
    assert sorted(oracle.digests) == sorted(row_digests(context(rows=50).pool))
    assert len(oracle.calls) == 1


def test_a_pool_smaller_than_the_budget_is_asked_whole():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 50)
    play(KnockoffNets(steps=5), oracle, rows=30)
    assert oracle.remaining == 20


def test_two_seeds_share_as_many_rows_as_chance_gives():
    one, other = (ToyOracle(VICTIMS["softmax_victim"], 500) for _ in range(2))
    play(KnockoffNets(steps=5), one, seed=1)
    play(KnockoffNets(steps=5), other, seed=2)
    assert 200 < len(set(one.digests) & set(other.digests)) < 300


def test_the_clone_learns_a_linear_victim():
    victim = VICTIMS["softmax_victim"]
    clone = play(KnockoffNets(steps=400), ToyOracle(victim, 300))
    fresh = torch.rand(500, 6, generator=torch.Generator().manual_seed(9))
    agreement = (predict(clone, fresh).argmax(dim=1) == victim(fresh).argmax(dim=1)).float().mean()
    assert float(agreement) > 0.9
