from dataclasses import dataclass

import pytest
import torch

from arena.contracts import Answer, BadParameter, Promise, QueryBatch
from arena.defenses.label_only import LabelOnly
from arena.defenses.parts.detection import DetectingDefense, shuffled, without
from tests.defenses.toy import LinearVictim, context, inputs


@dataclass(frozen=True, kw_only=True)
class Touchy(DetectingDefense):
    """Its alarm stands at every row whose first column is more than one half."""

    def watches(self, context, state, *, rng):
        return lambda: lambda rows, _: rows[:, 0] > 0.5


def asked(*firsts):
    rows = inputs(len(firsts))
    rows[:, 0] = torch.tensor(firsts)
    return rows


def responder(defense):
    return defense.deploy(context(), {}, rng=torch.Generator().manual_seed(0))


ROWS = asked(0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0)


def refused(defense, rows=ROWS, *, sizes=None, account=0):
    respond = responder(defense)
    parts = rows.split(sizes or len(rows))
    return torch.cat([respond(QueryBatch(inputs=part, account=account)).refused for part in parts]).tolist()


@pytest.mark.parametrize("sizes", [None, 1, 3])
def test_an_alarm_blocks_all_that_follows_or_only_while_it_stands(sizes):
    assert refused(Touchy(), sizes=sizes) == [False, True, True, True, True, True, True, True]
    assert refused(Touchy(latched=False), sizes=sizes) == [False, True, False, True, True, False, True, True]


@pytest.mark.parametrize("sizes", [None, 1, 3])
def test_a_throttled_account_is_answered_now_and_then(sizes):
    throttled = Touchy(action="throttle", answered_every=3)
    assert refused(throttled, sizes=sizes) == [False, True, True, False, True, True, False, True]


def test_refused_rows_are_zeros_and_answered_ones_the_victims():
    answer = responder(Touchy(latched=False))(QueryBatch(inputs=ROWS))
    clean = LinearVictim()(ROWS)
    assert torch.equal(answer.posteriors, clean * ~answer.refused.unsqueeze(1))


def test_one_accounts_alarm_is_nothing_to_another():
    respond = responder(Touchy())
    assert respond(QueryBatch(inputs=asked(1.0), account=7)).refused.tolist() == [True]
    assert respond(QueryBatch(inputs=asked(0.0), account=8)).refused.tolist() == [False]
    assert respond(QueryBatch(inputs=asked(0.0), account=7)).refused.tolist() == [True]


def test_poison_shuffles_all_but_the_largest_and_equal_rows_alike():
    rows = asked(0.0, 1.0, 1.0)
    rows[2] = rows[1]
    respond, clean = responder(Touchy(action="poison", latched=False)), LinearVictim()(rows)
    answer = respond(QueryBatch(inputs=rows))
    assert not bool(answer.refused.any())
    assert torch.equal(answer.posteriors[0], clean[0])
    assert torch.equal(answer.posteriors[1], answer.posteriors[2])
    assert not torch.equal(answer.posteriors[1], clean[1])
    assert torch.equal(answer.posteriors.sort(dim=1).values, clean.sort(dim=1).values)
    assert torch.equal(answer.posteriors.argmax(dim=1), clean.argmax(dim=1))


def test_a_shuffle_by_hand():
    rows = shuffled(torch.tensor([[0.1, 0.6, 0.2, 0.1]]), torch.tensor([[3.0, 9.0, 1.0, 2.0]]))
    assert torch.allclose(rows, torch.tensor([[0.2, 0.6, 0.1, 0.1]]))  # classes 2, 3, 0 stand where 0, 2, 3 were


def test_a_log_changes_nothing():
    assert torch.equal(responder(Touchy(action="log"))(QueryBatch(inputs=ROWS)).posteriors, LinearVictim()(ROWS))


def test_what_each_action_promises():
    for action, promise in {
        "block": Promise(argmax=True, l1=0.0, stateful=True),
        "throttle": Promise(argmax=True, l1=0.0, stateful=True),
        "poison": Promise(argmax=True, stateful=True, noise="keyed"),
        "log": Promise(argmax=True, l1=0.0, stateful=True),
    }.items():
        assert Touchy(action=action).promise == promise
    assert Touchy(base=LabelOnly()).promise == Promise(argmax=True, stateful=True)


def test_rows_that_were_refused_below_are_neither_seen_nor_poisoned():
    inner = Touchy(latched=False)
    outer = Touchy(base=inner, action="poison")
    answer = responder(outer)(QueryBatch(inputs=ROWS))
    assert answer.refused.tolist() == (ROWS[:, 0] > 0.5).tolist()
    assert torch.equal(
        answer.posteriors, LinearVictim()(ROWS) * ~answer.refused.unsqueeze(1)
    )  # nothing raised an alarm


def test_explanations_of_refused_rows_are_withheld():
    answer = Answer(posteriors=torch.ones(2, 1), refused=torch.zeros(2).bool(), explanations=torch.ones(2, 3, 3))
    found = without(answer, torch.tensor([True, False]))
    assert found.explanations.sum(dim=(1, 2)).tolist() == [0, 9]


def test_to_throttle_by_nothing_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="answered_every"):
        Touchy(answered_every=1)
