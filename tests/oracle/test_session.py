"""What a session takes and lets out, when honest users are served, and how a match goes on after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from arena.contracts import (
    Answer,
    BadParameter,
    BudgetExhausted,
    DefenseFault,
    InvalidQuery,
    LedgerCorrupt,
    LedgerUnavailable,
    MatchClosed,
    QueryBatch,
    QueryTooLarge,
    Responder,
)
from arena.oracle.ledger import MatchLedger, MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms
from tests.oracle.responders import TASK, CountingResponder, batch, inputs, key


class MirroringScript:
    """One honest call of as many rows after each attack call, one call of account 99 at the end."""

    def after(self, rows: int) -> Sequence[QueryBatch]:
        return [batch(rows, seed=50, account=7)]

    def rest(self) -> Sequence[QueryBatch]:
        return [batch(1, seed=51, account=99)]


def session(
    *, responder: Responder | None = None, ledger: MatchLedger | None = None, budget: int = 20, **options
) -> Session:
    agreed = {field.name for field in fields(OracleTerms)}
    return Session(
        OracleTerms(task=TASK, budget=budget, **{name: value for name, value in options.items() if name in agreed}),
        responder=responder or CountingResponder(),
        ledger=ledger or MemoryLedger(budget=budget),
        **{name: value for name, value in options.items() if name not in agreed},
    )


def answering(posteriors: torch.Tensor, refused: torch.Tensor | None = None) -> Responder:
    none = torch.zeros(len(posteriors), dtype=torch.bool)
    return lambda queries: Answer(posteriors=posteriors, refused=none if refused is None else refused)


class TestWhatItTakes:
    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            (inputs(2).double(), "dtype torch.float32, not torch.float64"),
            (torch.rand(2, 3), r"shape \(N, 2\), not \(2, 3\)"),
            (torch.rand(2), r"not \(2\)"),
            (torch.rand(0, 2), "at least one row"),
            (torch.tensor([[0.5, float("nan")]]), r"finite and within \[0, 1\]"),
            (torch.tensor([[0.5, float("inf")]]), "from 0.5 to inf"),
            (inputs(2).numpy(), r"torch tensor, not numpy\.ndarray"),
            (torch.tensor([[0.5, 1.0000001]]), "to 1.0000001"),
            (torch.tensor([[-0.1, 0.5]]), "range from -0.10000000149011612 to 0.5"),
        ],
    )
    def test_refuses_invalid_inputs_and_charges_nothing(self, asked: torch.Tensor, words: str):
        oracle = session()
        with pytest.raises(InvalidQuery, match=words):
            oracle.query(key(1), QueryBatch(inputs=asked))
        assert oracle.remaining == 20

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            (batch(1, account=1), "there is no account 1"),
            (batch(1, account=-1), "there is no account -1"),
            (batch(1, explain=True), "no explanations"),
        ],
    )
    def test_refuses_accounts_and_explanations_that_are_not_offered(self, asked: QueryBatch, words: str):
        with pytest.raises(InvalidQuery, match=words):
            session().query(key(1), asked)

    def test_refuses_a_request_id_that_has_not_16_bytes(self):
        with pytest.raises(InvalidQuery, match="16 bytes, not 3"):
            session().query(b"abc", batch(1))

    def test_refuses_more_rows_than_it_takes_at_once(self):
        with pytest.raises(QueryTooLarge, match="5 rows in one call; at most 4"):
            session(max_rows=4).query(key(1), batch(5))

    def test_refuses_a_batch_over_budget_and_charges_nothing(self):
        oracle = session(budget=3)
        with pytest.raises(BudgetExhausted, match="costs 4, but only 3 of the query budget of 3"):
            oracle.query(key(1), batch(4))
        assert oracle.remaining == 3

    def test_shows_the_defense_opaque_account_numbers(self):
        responder = CountingResponder()
        oracle = session(responder=responder, accounts=2, account_numbers=[41, 17])
        oracle.query(key(1), batch(1, account=1))
        oracle.query(key(2), batch(1, account=0))
        assert responder.accounts == [17, 41]

    def test_needs_a_number_for_each_account_and_an_explainer_for_explanations(self):
        with pytest.raises(BadParameter):
            session(accounts=2, account_numbers=[1])
        with pytest.raises(BadParameter):
            session(explanation="gradient-input")

    def test_explains_what_the_defense_leaves_unexplained_at_its_price(self):
        oracle = session(
            explanation="gradient-input",
            explanation_price=2,
            explainer=lambda asked, classes: asked * classes[:, None],
            responder=answering(torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])),
        )
        answer = oracle.query(key(1), batch(2, explain=True))
        assert answer.explanations is not None
        assert torch.equal(answer.explanations, inputs(2) * torch.tensor([[2.0], [1.0]]))
        assert oracle.remaining == 20 - 6


class TestWhatItLetsOut:
    @pytest.mark.parametrize(
        "posteriors",
        [
            torch.tensor([[0.5, 0.5, 0.1]]),
            torch.tensor([[1.5, -0.5, 0.0]]),
            torch.tensor([[float("nan"), 0.5, 0.5]]),
            torch.tensor([[float("inf"), 0.0, 0.0]]),
            torch.zeros(1, 3),
            torch.ones(1, 1),
            torch.ones(2, 3) / 3,
            torch.ones(1, 3).double() / 3,
        ],
    )
    def test_ends_the_match_uncharged_when_an_answer_is_off_the_simplex(self, posteriors: torch.Tensor):
        oracle = session(responder=answering(posteriors))
        with pytest.raises(DefenseFault):
            oracle.query(key(1), batch(1))
        with pytest.raises(DefenseFault):
            oracle.query(key(2), batch(1))
        assert oracle.fault is not None
        assert oracle.remaining == 20
        assert not oracle.close().calls

    def test_lets_refused_rows_out_as_zeros_and_nothing_else(self):
        refused = torch.tensor([True])
        answer = session(responder=answering(torch.zeros(1, 3), refused)).query(key(1), batch(1))
        assert answer.refused.tolist() == [True]
        with pytest.raises(DefenseFault):
            session(responder=answering(torch.eye(3)[:1], refused)).query(key(1), batch(1))

    def test_chains_the_defense_s_own_error(self):
        def broken(queries: QueryBatch) -> Answer:
            raise ZeroDivisionError("secret words")

        oracle = session(responder=broken)
        with pytest.raises(DefenseFault, match="raised ZeroDivisionError") as fault:
            oracle.query(key(1), batch(1))
        assert "secret words" not in str(fault.value)
        assert str(fault.value.__cause__) == "secret words"

    def test_an_answer_of_another_kind_is_a_fault_of_the_defense(self):
        with pytest.raises(DefenseFault):
            session(responder=lambda queries: None).query(key(1), batch(1))

    def test_rounds_after_the_simplex_was_checked(self):
        thirds = torch.full((1, 3), 1 / 3)
        answer = session(responder=answering(thirds), decimals=1).query(key(1), batch(1))
        assert torch.equal(answer.posteriors, torch.full((1, 3), 0.3))

    def test_nothing_that_the_attack_can_change_for_the_defense_or_the_record(self):
        table = torch.full((2, 3), 1 / 3)
        opened = session(responder=answering(table))
        LocalOracle(opened).query(inputs(2)).posteriors.zero_()
        assert torch.equal(table, torch.full((2, 3), 1 / 3))
        assert torch.equal(opened.close().attack_posteriors, table)


class TestHonestTraffic:
    def test_is_played_before_the_next_query_recorded_and_not_charged(self):
        responder = CountingResponder()
        oracle = session(responder=responder, honest=MirroringScript())
        oracle.query(key(1), batch(3))
        assert (responder.rows, oracle.honest_waits) == (3, True)
        oracle.query(key(2), batch(2))
        assert responder.rows == 8
        oracle.play_honest()
        assert (responder.rows, oracle.honest_waits) == (10, False)
        transcript = oracle.close()
        assert [(call.rows, call.honest) for call in transcript.calls] == [
            (3, False),
            (3, True),
            (2, False),
            (2, True),
            (1, True),
        ]
        assert transcript.counts.spent == 5
        assert list(transcript.honest_calls)[-1].request.account == 99

    def test_is_not_repeated_after_a_repeated_request(self):
        oracle = session(honest=MirroringScript())
        for _ in range(3):
            oracle.query(key(1), batch(3))
        assert len(list(oracle.close().honest_calls)) == 2

    def test_trips_the_defense_as_an_attack_would(self):
        class Fragile(CountingResponder):
            def __call__(self, queries: QueryBatch) -> Answer:
                if queries.account == 7:
                    raise RuntimeError
                return super().__call__(queries)

        oracle = session(responder=Fragile(), honest=MirroringScript())
        oracle.query(key(1), batch(3))
        with pytest.raises(DefenseFault):
            oracle.query(key(2), batch(3))
        assert len(oracle.close().calls) == 1
        assert [len(queries.inputs) for queries in oracle.unanswered] == [3, 1]

    def test_queries_are_refused_once_closed(self):
        oracle = session(honest=MirroringScript())
        oracle.query(key(1), batch(3))
        transcript = oracle.close()
        with pytest.raises(MatchClosed):
            oracle.query(key(1), batch(3))
        assert oracle.close() is transcript


class TestRestart:
    @pytest.mark.parametrize("played", [False, True])
    def test_goes_on_as_if_nothing_had_happened(self, tmp_path: Path, played: bool):
        undisturbed = session(honest=MirroringScript())
        undisturbed.query(key(1), batch(3))
        undisturbed.query(key(2), batch(2))
        first = SqliteLedger.open(tmp_path / "match.ledger", budget=20)
        oracle = session(ledger=first, honest=MirroringScript())
        oracle.query(key(1), batch(3))
        if played:
            oracle.play_honest()
        first.release()
        second = SqliteLedger.open(tmp_path / "match.ledger", budget=20)
        oracle = session(ledger=second, honest=MirroringScript())
        oracle.query(key(1), batch(3))
        oracle.query(key(2), batch(2))
        assert oracle.close().digest == undisturbed.close().digest

    def test_finds_a_defense_that_answers_otherwise(self, tmp_path: Path):
        first = SqliteLedger.open(tmp_path / "match.ledger", budget=20)
        session(ledger=first).query(key(1), batch(3))
        first.release()
        second = SqliteLedger.open(tmp_path / "match.ledger", budget=20)
        with pytest.raises(LedgerCorrupt, match="differs from the recorded answer"):
            session(ledger=second, responder=answering(torch.ones(3, 3) / 3))

    def test_times_each_honest_call_and_no_other(self):
        oracle = session(honest=MirroringScript())
        assert list(oracle.honest_seconds) == []
        oracle.query(key(0), batch(3))
        oracle.close()
        assert len(oracle.honest_seconds) == 2
        assert all(seconds > 0 for seconds in oracle.honest_seconds)

    def test_finds_another_honest_script(self, tmp_path: Path):
        first = SqliteLedger.open(tmp_path / "match.ledger", budget=20)
        session(ledger=first, honest=MirroringScript()).close()
        with pytest.raises(LedgerCorrupt, match="match seed"):
            session(ledger=SqliteLedger.open(tmp_path / "match.ledger", budget=20))


class TestALedgerThatCannotWrite:
    class Failing(MemoryLedger):
        """Answers, then cannot record, as often as it is told."""

        failures = 1

        def charge(self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest=False):
            def respond_and_fail(asked: QueryBatch) -> Answer:
                answer = respond(asked)
                if self.failures:
                    self.failures -= 1
                    raise LedgerUnavailable("disk full")
                return answer

            return super().charge(request_id, queries, respond_and_fail, price=price, honest=honest)

    def test_does_not_make_the_defense_hear_a_call_twice(self):
        responder = CountingResponder()
        oracle = session(responder=responder, ledger=self.Failing(budget=20), honest=MirroringScript())
        with pytest.raises(LedgerUnavailable, match="disk full"):
            oracle.query(key(1), batch(3))
        with pytest.raises(LedgerUnavailable, match="repeat it before any other call"):
            oracle.query(key(2), batch(2))
        oracle.query(key(1), batch(3))
        assert (responder.rows, oracle.remaining, oracle.honest_waits) == (3, 17, True)
