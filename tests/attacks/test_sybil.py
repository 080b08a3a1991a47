import torch

from arena.attacks.jacobian import JacobianAugmentation
from arena.attacks.knockoff import KnockoffNets
from arena.attacks.sybil import Sybil
from arena.attacks.uniform_noise import UniformNoise
from arena.learning.tensors import row_digests
from tests.attacks.toy import VICTIMS, ToyOracle, context, digest, play

QUICK = KnockoffNets(steps=5)


def oracle_of(budget, *, accounts, **fields):
    return ToyOracle(VICTIMS["softmax_victim"], budget, accounts=accounts, **fields)


def rows_by_account(oracle):
    rows = dict.fromkeys(range(oracle.accounts), 0)
    for sender, call in zip(oracle.asked_as, oracle.calls, strict=True):
        rows[sender] += len(call)
    return list(rows.values())


def test_a_detector_that_needs_a_hundred_rows_never_sees_them_from_one_account():
    oracle = oracle_of(1000, accounts=10)
    play(Sybil(base=QUICK), oracle)
    assert rows_by_account(oracle) == [100] * 10


def test_turns_go_on_over_calls():
    oracle = oracle_of(100, accounts=4)
    play(Sybil(base=JacobianAugmentation(seeds=13, steps=5, steps_inner=5)), oracle)
    assert rows_by_account(oracle) == [25] * 4


def test_the_base_gets_every_answer_at_its_row():
    clones = [play(attack, oracle_of(60, accounts=3)) for attack in (QUICK, Sybil(base=QUICK))]
    assert digest(clones[0]) == digest(clones[1])


def test_rows_of_the_pool_and_rows_that_were_made_have_accounts_of_their_own():
    oracle = oracle_of(100, accounts=5)
    play(Sybil(base=JacobianAugmentation(seeds=30, steps=5, steps_inner=5), assignment="by-origin"), oracle)
    pool = set(row_digests(context().pool))
    natural = [sender < 2 for sender in oracle.asked_as]
    assert [all(one in pool for one in row_digests(call)) for call in oracle.calls] == natural
    for kind in (rows_by_account(oracle)[:2], rows_by_account(oracle)[2:]):
        assert min(kind) >= 15
        assert max(kind) - min(kind) <= 1


def test_one_account_is_asked_as_it_is():
    for assignment in ("round-robin", "by-origin"):
        oracle = oracle_of(20, accounts=1)
        play(Sybil(base=UniformNoise(steps=5), assignment=assignment), oracle)
        assert rows_by_account(oracle) == [20]


def test_needs_accounts_and_what_its_base_needs():
    assert Sybil(base=KnockoffNets()).needs == {"accounts", "pool"}
    assert Sybil(base=UniformNoise()).needs == {"accounts"}


def test_explanations_come_back_at_their_rows():
    seen = []

    class Explained(KnockoffNets):
        def extract(self, oracle, context, *, rng):
            seen.append(torch.equal(oracle.query(context.pool[:7], explain=True).explanations, context.pool[:7]))
            return super().extract(oracle, context, rng=rng)

    oracle = oracle_of(40, accounts=3, explanation="maps")
    play(Sybil(base=Explained(steps=5)), oracle)
    assert seen == [True]
    assert oracle.remaining == 0
