"""What every ledger promises, and what the one on disk promises beyond it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import threading
import tracemalloc
from pathlib import Path
from random import Random

import pytest
import torch

from arena.contracts import (
    Answer,
    BudgetExhausted,
    LedgerCorrupt,
    LedgerUnavailable,
    MatchClosed,
    QueryBatch,
    RequestConflict,
)
from arena.learning import compact
from arena.learning.compact import CompactRows
from arena.oracle.ledger import MatchLedger, MemoryLedger
from arena.oracle.sqlite_ledger import SqliteLedger, read_transcript
from tests.forked import forked
from tests.oracle.charging_process import charge
from tests.oracle.full_disk import fill
from tests.oracle.responders import CountingResponder, batch, key


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> MatchLedger:
    if request.param == "memory":
        return MemoryLedger(budget=10)
    return SqliteLedger.open(tmp_path / "match.ledger", budget=10)


class TestEveryLedger:
    def test_charges_what_it_answers(self, ledger: MatchLedger):
        answer = ledger.charge(key(1), batch(4), CountingResponder(), price=4)
        assert ledger.remaining == 6
        assert torch.equal(answer.posteriors, CountingResponder()(batch(4)).posteriors)

    def test_answers_a_repeated_request_from_the_record(self, ledger: MatchLedger):
        responder = CountingResponder()
        first = ledger.charge(key(1), batch(4), responder, price=4)
        again = ledger.charge(key(1), batch(4), responder, price=4)
        assert torch.equal(first.posteriors, again.posteriors)
        assert torch.equal(first.refused, again.refused)
        assert (responder.rows, ledger.remaining) == (4, 6)

    @pytest.mark.parametrize("other", [batch(4, seed=1), batch(4, account=1), batch(4, explain=True), batch(3)])
    def test_refuses_a_request_id_with_other_content(self, ledger: MatchLedger, other: QueryBatch):
        ledger.charge(key(1), batch(4), CountingResponder(), price=4)
        with pytest.raises(RequestConflict, match="draw a fresh id for each call"):
            ledger.charge(key(1), other, CountingResponder(), price=4)
        assert ledger.remaining == 6

    def test_refuses_a_call_over_budget_whole(self, ledger: MatchLedger):
        ledger.charge(key(1), batch(8), CountingResponder(), price=8)
        responder = CountingResponder()
        with pytest.raises(BudgetExhausted, match="costs 3, but only 2 of the query budget of 10 are left") as refusal:
            ledger.charge(key(2), batch(3), responder, price=3)
        assert refusal.value.remaining == ledger.remaining == 2
        assert responder.rows == 0

    def test_spends_the_last_unit(self, ledger: MatchLedger):
        ledger.charge(key(1), batch(10), CountingResponder(), price=10)
        assert ledger.remaining == 0

    def test_charges_nothing_when_the_responder_raises(self, ledger: MatchLedger):
        def broken(queries: QueryBatch) -> Answer:
            raise sqlite3.OperationalError("mine, not the ledger's")

        with pytest.raises(sqlite3.OperationalError, match="mine"):
            ledger.charge(key(1), batch(4), broken, price=4)
        assert ledger.remaining == 10
        assert not list(ledger.calls())
        ledger.charge(key(1), batch(5), CountingResponder(), price=5)
        assert ledger.remaining == 5

    def test_records_honest_calls_without_charging_them(self, ledger: MatchLedger):
        ledger.charge(key(1), batch(4), CountingResponder(), price=4)
        ledger.charge(key(1), batch(20, account=7), CountingResponder(), price=20, honest=True)
        assert ledger.remaining == 6
        assert [(len(call.queries.inputs), call.queries.account, call.honest) for call in ledger.calls()] == [
            (4, 0, False),
            (20, 7, True),
        ]

    def test_refuses_everything_once_closed(self, ledger: MatchLedger):
        ledger.charge(key(1), batch(4), CountingResponder(), price=4)
        digest = ledger.close()
        for request in (key(1), key(2)):
            with pytest.raises(MatchClosed):
                ledger.charge(request, batch(4), CountingResponder(), price=4)
        assert ledger.close() == digest == ledger.transcript().digest
        assert len(list(ledger.calls())) == 1

    def test_counts_rows_distinct_rows_and_calls_of_the_attack_alone(self, ledger: MatchLedger):
        ledger.charge(key(1), batch(3), CountingResponder(), price=6)
        ledger.charge(key(2), batch(4), CountingResponder(), price=4)
        ledger.charge(key(3), batch(5, seed=1), CountingResponder(), price=5, honest=True)
        ledger.close()
        counts = ledger.transcript().counts
        assert (counts.spent, counts.rows, counts.distinct_rows, counts.calls) == (10, 7, 4, 2)

    def test_keeps_refusals_and_explanations(self, ledger: MatchLedger):
        def wary(queries: QueryBatch) -> Answer:
            refused = torch.tensor([True, False])
            return Answer(posteriors=torch.eye(3)[:2], refused=refused, explanations=queries.inputs * 2)

        ledger.charge(key(1), batch(2, explain=True), wary, price=4)
        again = ledger.charge(key(1), batch(2, explain=True), wary, price=4)
        assert again.refused.tolist() == [True, False]
        assert again.explanations is not None
        assert torch.equal(again.explanations, batch(2).inputs * 2)
        assert ledger.transcript().attack_refused.tolist() == [True, False]

    def test_is_not_overspent_by_ten_threads(self, ledger: MatchLedger):
        refusals = []

        def spend(number: int) -> None:
            for call in range(3):
                try:
                    ledger.charge(key(10 * number + call), batch(1), CountingResponder(), price=1)
                except BudgetExhausted as refusal:
                    refusals.append(refusal)

        threads = [threading.Thread(target=spend, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (ledger.remaining, len(refusals), len(list(ledger.calls()))) == (0, 20, 10)

    def test_transcript_has_tensors_in_recorded_order(self, ledger: MatchLedger):
        responder = CountingResponder()
        parts = [ledger.charge(key(n), batch(2, seed=n), responder, price=2).posteriors for n in range(3)]
        transcript = ledger.transcript()
        assert torch.equal(transcript.attack_inputs, torch.cat([batch(2, seed=n).inputs for n in range(3)]))
        assert torch.equal(transcript.attack_posteriors, torch.cat(parts))
        assert transcript.honest_inputs.shape == (0,)


def test_both_ledgers_give_one_digest_and_one_chain(tmp_path: Path):
    ledgers = [MemoryLedger(budget=10), SqliteLedger.open(tmp_path / "a", budget=10)]
    for ledger in ledgers:
        responder = CountingResponder()
        ledger.charge(key(1), batch(4), responder, price=4)
        ledger.charge(key(1), batch(2, account=3), responder, price=2, honest=True)
        ledger.close()
    memory, sqlite = (ledger.transcript() for ledger in ledgers)
    assert (memory.digest, memory.link, memory.counts) == (sqlite.digest, sqlite.link, sqlite.counts)


def test_digest_leaves_out_request_ids_and_covers_what_was_told():
    def play(request: bytes, *, account: int = 0, explain: bool = False, seed: int = 0) -> str:
        ledger = MemoryLedger(budget=10)
        ledger.charge(request, batch(4, seed=seed, account=account, explain=explain), CountingResponder(), price=4)
        return ledger.close()

    assert play(key(1)) == play(key(2))
    assert len({play(key(1)), play(key(1), account=1), play(key(1), explain=True), play(key(1), seed=1)}) == 4


def charged(path: Path, *, calls: int = 3, release: bool = True) -> SqliteLedger:
    """A ledger of budget 100 with some calls in it."""
    ledger = SqliteLedger.open(path, budget=100)
    for number in range(calls):
        ledger.charge(key(number), batch(2, seed=number), CountingResponder(), price=2)
    if release:
        ledger.release()
    return ledger


class TestTheFile:
    def test_is_reopened_where_it_stood(self, tmp_path: Path):
        charged(tmp_path / "match.ledger")
        reopened = SqliteLedger.open(tmp_path / "match.ledger", budget=100)
        assert reopened.remaining == 94
        responder = CountingResponder()
        reopened.charge(key(2), batch(2, seed=2), responder, price=2)
        assert (reopened.remaining, responder.rows) == (94, 0)

    def test_is_one_file_once_closed_and_a_copy_of_it_is_the_transcript(self, tmp_path: Path):
        ledger = charged(tmp_path / "match.ledger", release=False)
        link = ledger.transcript().link
        digest = ledger.close()
        assert [path.name for path in tmp_path.iterdir()] == ["match.ledger"]
        transcript = read_transcript(shutil.copy(tmp_path / "match.ledger", tmp_path / "a copy #1?.ledger"))
        assert (transcript.digest, transcript.link, transcript.counts.spent) == (digest, link, 6)

    def test_stays_closed_when_reopened(self, tmp_path: Path):
        digest = charged(tmp_path / "match.ledger", release=False).close()
        reopened = SqliteLedger.open(tmp_path / "match.ledger", budget=100)
        assert reopened.close() == digest
        with pytest.raises(MatchClosed):
            reopened.charge(key(9), batch(1), CountingResponder(), price=1)

    @pytest.mark.parametrize(("attempt", "budget"), [(2, 100), (1, 1000)])
    def test_is_refused_to_another_attempt_or_budget(self, tmp_path: Path, attempt: int, budget: int):
        charged(tmp_path / "match.ledger")
        with pytest.raises(LedgerUnavailable, match="belongs to attempt 1 with budget 100"):
            SqliteLedger.open(tmp_path / "match.ledger", budget=budget, attempt=attempt)

    def test_of_an_open_match_is_no_transcript(self, tmp_path: Path):
        charged(tmp_path / "match.ledger")
        with pytest.raises((LedgerCorrupt, LedgerUnavailable)):
            read_transcript(tmp_path / "match.ledger")

    @pytest.mark.parametrize(
        "edit",
        [
            "UPDATE ledger SET spent = spent - 2",
            "UPDATE call SET price = 1 WHERE number = 2",
            "UPDATE call SET account = 5 WHERE number = 1",
            "UPDATE call SET posteriors = zeroblob(24) WHERE number = 1",
            "UPDATE call SET inputs = zeroblob(16) WHERE number = 3",
            "UPDATE call SET inputs_shape = 'two 2' WHERE number = 3",
            "DELETE FROM call WHERE number = 3",
            "DELETE FROM ledger",
        ],
    )
    def test_that_was_edited_is_not_opened(self, tmp_path: Path, edit: str):
        charged(tmp_path / "match.ledger")
        connection = sqlite3.connect(tmp_path / "match.ledger")
        connection.execute(edit)
        connection.commit()
        connection.close()
        with pytest.raises(LedgerCorrupt):
            SqliteLedger.open(tmp_path / "match.ledger", budget=100)

    def test_with_flipped_bytes_is_refused_or_tells_the_truth(self, tmp_path: Path):
        truth = charged(tmp_path / "match.ledger", release=False).close()
        sound = (tmp_path / "match.ledger").read_bytes()
        random, found = Random(0), 0
        for _ in range(100):
            damaged = bytearray(sound)
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
            try:
                (tmp_path / "damaged.ledger").write_bytes(damaged)
                assert read_transcript(tmp_path / "damaged.ledger").digest == truth
            except (LedgerCorrupt, LedgerUnavailable):
                found += 1
        assert found > 0

    def test_refuses_calls_while_the_disk_is_full_and_works_again_after(self, tmp_path: Path):
        with forked(fill, tmp_path / "match.ledger") as process:
            answered, refused, recorded = map(int, process.out.read().split())
            assert process.ended() == 0
        assert refused == 3
        assert recorded == answered


def test_kills_lose_and_double_nothing(tmp_path: Path):
    """The client repeats a call under the same id until it is answered; the process is killed in between."""
    path, calls, random, number, kills = tmp_path / "match.ledger", 400, Random(1), 0, 0
    while number < calls:
        with forked(charge, path, number, calls) as process:
            until = number + random.randrange(1, 60)
            for line in process.out:
                number = int(line) + 1
                if number > until and kills < 10:
                    os.kill(process.pid, signal.SIGKILL)
                    kills += 1
                    break
    ledger = SqliteLedger.open(path, budget=10_000)
    ledger.close()
    counts = ledger.transcript().counts
    assert kills == 10
    assert (counts.calls, counts.spent) == (calls, sum(1 + n % 3 for n in range(calls)))


def test_a_ledger_is_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "match.ledger"
    ledger = SqliteLedger.open(path, budget=10)
    ledger.charge(key(1), batch(2), CountingResponder(), price=2)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    ledger.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestReadingALargeFile:
    """A closed ledger is read call by call: at no time is more than a call of it in memory."""

    CALLS, ROWS, SHAPE = 40, 64, (3, 32, 32)

    @pytest.fixture
    def closed(self, tmp_path: Path) -> Path:
        ledger = SqliteLedger.open(tmp_path / "match.ledger", budget=10_000)
        for number in range(self.CALLS):
            levels = torch.randint(256, (self.ROWS, *self.SHAPE), generator=torch.Generator().manual_seed(number))
            queries = QueryBatch(inputs=levels / 255)
            ledger.charge(key(number), queries, self.answer, price=self.ROWS, honest=number % 4 == 3)
        ledger.close()
        return tmp_path / "match.ledger"

    @staticmethod
    def answer(queries: QueryBatch) -> Answer:
        rows = len(queries.inputs)
        return Answer(posteriors=queries.inputs.flatten(1)[:, :3].softmax(1), refused=torch.zeros(rows).bool())

    def test_no_part_of_our_code_reads_it_whole(self, closed: Path, monkeypatch: pytest.MonkeyPatch):
        def whole(path: Path) -> bytes:
            raise AssertionError(f"{path} was read whole")

        monkeypatch.setattr(Path, "read_bytes", whole)
        tracemalloc.start()
        transcript = read_transcript(closed)
        seen = sum(call.rows for call in transcript.calls)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (seen, len(transcript.calls)) == (self.CALLS * self.ROWS, self.CALLS)
        assert peak < closed.stat().st_size / 4

    def test_rows_are_read_once_and_stay_packed(self, closed: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(compact, "PLAIN_BYTES", 0)
        transcript = read_transcript(closed)
        assert transcript.attack_inputs is transcript.attack_inputs
        assert all(isinstance(inputs, CompactRows) for inputs in (transcript.attack_inputs, transcript.honest_inputs))
        calls = list(transcript.calls)
        for honest, inputs, posteriors in (
            (False, transcript.attack_inputs, transcript.attack_posteriors),
            (True, transcript.honest_inputs, transcript.honest_posteriors),
        ):
            assert torch.equal(inputs, torch.cat([call.queries.inputs for call in calls if call.honest == honest]))
            assert torch.equal(
                posteriors, torch.cat([call.answer.posteriors for call in calls if call.honest == honest])
            )

    def test_the_ledger_and_its_file_have_one_transcript(self, closed: Path):
        reopened = SqliteLedger.open(closed, budget=10_000)
        assert reopened.transcript() is reopened.transcript()
        assert reopened.transcript().digest == read_transcript(closed).digest == reopened.close()
        assert len(list(reopened.calls())) == self.CALLS

    def test_calls_that_were_damaged_after_it_was_read_are_reported(self, closed: Path):
        transcript = read_transcript(closed)
        closed.write_bytes(b"no database")
        with pytest.raises((LedgerCorrupt, LedgerUnavailable)):
            list(transcript.calls)


def test_an_answer_to_a_repeated_row_counts_it_once_over_all_calls():
    ledger = MemoryLedger(budget=600)
    for number in range(3):
        ledger.charge(key(number), batch(200, seed=number % 2), CountingResponder(), price=200)
    counts = ledger.transcript().counts
    rows = {tuple(row) for seed in (0, 1) for row in batch(200, seed=seed).inputs.flatten(1).tolist()}
    assert (counts.rows, counts.distinct_rows) == (600, len(rows))


def test_nothing_recorded_is_an_empty_transcript():
    transcript = MemoryLedger(budget=1).transcript()
    assert (transcript.counts.distinct_rows, transcript.attack_inputs.shape, transcript.attack_refused.shape) == (
        0,
        (0,),
        (0,),
    )
