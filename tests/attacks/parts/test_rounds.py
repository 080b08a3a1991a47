import torch

from arena.attacks.parts.rounds import FreshClones, Unqueried
from arena.attacks.parts.transfer_set import TransferSet
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, digest


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_what_is_taken_does_not_come_again():
    pool = context(rows=30).pool
    unasked = Unqueried(pool, rng=rng())
    first = unasked.take(7)
    chosen = unasked.sample(5)
    second = unasked.take(chosen)
    assert torch.equal(second, pool[chosen])
    assert len(unasked) == 18
    everything = torch.cat([first, second, unasked.take(100)])
    assert sorted(everything.tolist()) == sorted(pool.tolist())
    assert len(unasked) == len(unasked.take(1)) == 0


def test_a_sample_stays_and_is_in_a_fresh_order():
    unasked = Unqueried(context(rows=30).pool, rng=rng())
    one, other = unasked.sample(100), unasked.sample(100)
    assert len(unasked) == 30
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(30))
    assert not torch.equal(one, other)


def test_clones_start_from_the_same_weights():
    bought = TransferSet(ToyOracle(VICTIMS["softmax_victim"], 64))
    over = context(seconds=0.0)  # no step of training
    clones = FreshClones("mlp", TABLE, over, rng=rng())
    bought.extend(context(rows=64).pool)
    assert digest(clones.fitted(bought, steps=5)) == digest(clones.fitted(bought, steps=5))
    trained = FreshClones("mlp", TABLE, context(), rng=rng()).fitted(bought, steps=5)
    assert not trained.training
    assert digest(trained) != digest(clones.fitted(bought, steps=5))
