from dataclasses import dataclass

import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import BudgetExhausted, InvalidQuery
from arena.learning.oracle_view import OracleView
from arena.learning.training import hardened
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle

ROWS = torch.rand(4, *TABLE.shape, generator=torch.Generator().manual_seed(0))


def explaining(**fields):
    return ToyOracle(VICTIMS["softmax_victim"], 40, accounts=3, explanation="maps", explanation_price=2, **fields)


VIEWS = [
    lambda oracle: OracleView(oracle=oracle),
    lambda oracle: TransformedOracle(oracle=oracle, transform=hardened),
    lambda oracle: TransferSet(oracle),
]


@pytest.mark.parametrize("view", VIEWS, ids=["view", "transformed", "transfer-set"])
def test_a_view_passes_on_accounts_explanations_and_what_remains(view):
    oracle = explaining()
    seen = view(oracle)
    answer = seen.query(ROWS, explain=True, account=2)
    assert (seen.task, seen.accounts, seen.explanation, seen.explanation_price) == (TABLE, 3, "maps", 2)
    assert seen.remaining == oracle.remaining == 40 - 3 * 4
    assert oracle.asked_as == [2]
    assert torch.equal(answer.explanations, ROWS)


def test_a_refused_row_stays_zero_whatever_the_transformation():
    seen = TransformedOracle(oracle=explaining(refuse_every=2), transform=lambda rows: rows + 1)
    answer = seen.query(ROWS)
    assert answer.refused.tolist() == [True, False, True, False]
    assert answer.posteriors.sum(dim=1)[::2].tolist() == [0, 0]


def test_a_call_that_a_view_would_split_is_priced_before_it_goes_out():
    seen = OracleView(oracle=explaining())
    assert seen.price(ROWS, explain=False) == 4
    assert seen.price(ROWS, explain=True) == 12
    with pytest.raises(BudgetExhausted, match="costs 48, but only 40"):
        seen.price(ROWS.repeat(4, 1), explain=True)
    with pytest.raises(InvalidQuery, match="at least one row"):
        seen.price(ROWS[:0], explain=False)


@dataclass(frozen=True, kw_only=True)
class ByAccounts(AttackWrapper):
    needs = frozenset({"accounts"})

    def extract(self, oracle, context, *, rng):
        return self.base.extract(oracle, context, rng=rng)


def test_a_wrapper_needs_what_it_needs_itself_and_what_its_base_needs():
    wrapper = ByAccounts(base=KnockoffNets())
    assert wrapper.needs == {"accounts", "pool"}
    assert wrapper.stops_early == {"pool exhausted"}
    assert ByAccounts.needs == {"accounts"}
