import pytest
import torch

from arena.attacks.parts.transfer_set import TransferSet, shares
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle


def rows(number, seed=0):
    return torch.rand(number, *TABLE.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("budget", "rounds"), [(1009, 10), (3, 5), (1, 1), (64, 7)])
def test_shares_sum_to_the_budget_and_differ_by_one_at_most(budget, rounds):
    found = shares(budget, rounds)
    assert sum(found) == budget
    assert len(found) == rounds
    assert max(found) - min(found) <= 1


def test_keeps_every_row_once_and_in_order():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 10)
    bought = TransferSet(oracle)
    first = bought.extend(rows(3))
    second = bought.extend(rows(4, seed=1))
    assert len(bought) == 7
    assert torch.equal(bought.inputs, torch.cat([rows(3), rows(4, seed=1)]))
    assert torch.equal(bought.released, torch.cat([first, second]))


def test_no_rows_are_no_call():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 10)
    assert TransferSet(oracle).extend(rows(0)).shape == (0, TABLE.classes)
    assert not oracle.calls


def test_refused_rows_are_kept_but_not_answered():
    bought = TransferSet(ToyOracle(VICTIMS["softmax_victim"], 10, refuse_every=3))
    bought.extend(rows(7))
    inputs, released = bought.answered()
    assert len(bought) == 7
    assert torch.equal(inputs, rows(7)[[1, 2, 4, 5]])
    assert bool((released.sum(dim=1) > 0.99).all())
