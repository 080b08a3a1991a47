from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits

from arena.attacks.averaging import Averaging
from arena.attacks.benign_mix import BenignMix
from arena.attacks.jacobian import JacobianAugmentation
from arena.attacks.knockoff import KnockoffNets
from arena.attacks.sybil import Sybil
from arena.attacks.uniform_noise import UniformNoise
from arena.contracts import BadParameter, BudgetExhausted, Task
from arena.defenses.prada import Distances
from arena.learning.tensors import row_digests
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, digest, play

QUICK = UniformNoise(steps=5)
JACOBIAN = JacobianAugmentation(seeds=20, steps=5, steps_inner=5)


def oracle_of(budget, **fields):
    return ToyOracle(VICTIMS["softmax_victim"], budget, **fields)


def natural(oracle, rows=1000):
    pool = set(row_digests(context(rows=rows).pool))
    return [digest in pool for digest in oracle.digests]


def test_a_ratio_of_nothing_is_the_base():
    mixed, plain = oracle_of(100), oracle_of(100)
    assert digest(play(BenignMix(base=JACOBIAN, ratio=0), mixed)) == digest(play(JACOBIAN, plain))
    assert mixed.transcript == plain.transcript


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 0.5), (3.0, 0.75), (0.25, 0.2)])
def test_natural_rows_go_along_in_proportion_from_beginning_to_end(ratio, share):
    oracle = oracle_of(400)
    play(BenignMix(base=QUICK, ratio=ratio, steps=5), oracle)
    found = natural(oracle)
    assert sum(found) == int(share * 400)
    assert abs(sum(found[:200]) - sum(found[200:])) < 40
    assert max(len(call) for call in oracle.calls) == 10


def test_goes_along_with_every_call_of_a_base_that_asks_in_rounds():
    oracle = oracle_of(400)
    play(BenignMix(base=JACOBIAN, steps=5), oracle)
    found = torch.tensor(natural(oracle)).float()
    assert oracle.remaining == 0
    assert len(set(oracle.digests)) == 400
    assert float(found[:40].mean()) == 1  # the seeds are natural themselves
    assert 0.4 < float(found[40:].mean()) < 0.75  # a step that leads nowhere new is replaced by a natural row


def test_the_base_gets_its_answers_at_its_rows():
    seen = []

    class Looking(UniformNoise):
        def extract(self, oracle, context, *, rng):
            rows = torch.rand(25, *TABLE.shape, generator=rng)
            seen.append(torch.equal(oracle.query(rows, explain=True).posteriors, VICTIMS["softmax_victim"](rows)))
            seen.append(oracle.remaining)
            with pytest.raises(BudgetExhausted):
                oracle.query(torch.rand(oracle.remaining + 1, *TABLE.shape))
            return super().extract(oracle, context, rng=rng)

    oracle = oracle_of(200, explanation="maps", explanation_price=2)
    play(BenignMix(base=Looking(steps=5), steps=5), oracle)
    assert seen == [True, 100 - 3 * 25]
    assert oracle.remaining == 0


def test_a_short_pool_is_shared_and_the_base_gets_the_rest_of_the_budget():
    oracle = oracle_of(200)
    play(BenignMix(base=QUICK, steps=5), oracle, rows=30)
    assert sum(natural(oracle, rows=30)) == 15
    assert oracle.remaining == 0


def test_a_base_that_exhausts_its_pool_leaves_no_row_of_it_unasked():
    oracle = oracle_of(200)
    play(BenignMix(base=KnockoffNets(steps=5), steps=5), oracle, rows=30)
    assert len(set(oracle.digests)) == 30


@pytest.fixture(scope="module")
def digits():
    """Images of digits, and a victim that gives each to the class whose mean is nearest."""
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    inputs = images.float() / 16
    means = torch.stack([inputs[labels == label].mean(dim=0) for label in range(10)])
    return inputs, lambda rows: (-torch.cdist(rows, means).square()).softmax(dim=1)


def first_alarm(oracle, account=0):
    """The number of the row of an account at which PRADA raises its alarm, None if it does not."""
    watch = Distances(delta=0.9, least=100, every=10, window=5000, cap=None, rng=torch.Generator())
    heard = [
        watch(inputs, rows)
        for sender, inputs, rows in zip(oracle.asked_as, oracle.calls, oracle.answers, strict=True)
        if sender == account
    ]
    alarms = torch.cat(heard).nonzero().flatten().tolist()
    return alarms[0] if alarms else None


def detected(attack, digits, *, accounts=1):
    inputs, victim = digits
    oracle = ToyOracle(victim, 400, Task(shape=(64,), classes=10), accounts=accounts)
    attack.extract(oracle, replace(context(oracle.task), pool=inputs), rng=torch.Generator().manual_seed(0))
    return [first_alarm(oracle, account) for account in range(accounts)]


def test_a_detector_of_distances_is_alarmed_later_or_not_at_all(digits):
    stepping = JacobianAugmentation(seeds=50, steps=5, steps_inner=20)
    (plain,) = detected(BenignMix(base=stepping, ratio=0), digits)
    (mixed,) = detected(BenignMix(base=stepping, ratio=3, steps=5), digits)
    assert plain is not None
    assert mixed is None or mixed > plain


def test_nor_is_it_by_any_of_several_accounts(digits):
    stepping = JacobianAugmentation(seeds=50, steps=5, steps_inner=20)
    assert detected(Sybil(base=stepping), digits, accounts=4) == [None] * 4


def test_the_natural_rows_train_the_clone():
    clones = [play(BenignMix(base=QUICK, steps=steps), oracle_of(40)) for steps in (1, 50)]
    assert digest(clones[0]) != digest(clones[1])


def test_composes_with_another_wrapper_in_either_order():
    for attack in (
        BenignMix(base=Averaging(base=KnockoffNets(steps=5)), steps=5),
        Averaging(base=BenignMix(base=KnockoffNets(steps=5), steps=5)),
    ):
        oracle = oracle_of(900)
        play(attack, oracle)
        assert oracle.remaining == 0


def test_a_negative_ratio_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="ratio"):
        BenignMix(base=QUICK, ratio=-1)
