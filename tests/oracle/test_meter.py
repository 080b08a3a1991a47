"""What is counted of the calls of sessions."""

from __future__ import annotations

import threading

import pytest
import torch

from arena.contracts import BudgetExhausted, InvalidQuery, QueryBatch, RequestConflict
from arena.oracle.ledger import MemoryLedger
from arena.oracle.meter import BOUNDS, Meter, Reading
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from tests.oracle.responders import TASK, CountingResponder, batch, key
from tests.oracle.test_session import MirroringScript


def session(meter: Meter, **options: object) -> Session:
    return Session(
        OracleTerms(task=TASK, budget=20),
        responder=CountingResponder(),
        ledger=MemoryLedger(budget=20),
        meter=meter,
        **options,
    )


def test_counts_calls_and_rows_of_attack_and_honest_users_apart():
    meter = Meter()
    oracle = session(meter, honest=MirroringScript())
    oracle.query(key(1), batch(3))
    oracle.query(key(2), batch(4, seed=1))
    oracle.close()
    reading = meter.reading
    assert (reading.queries, reading.rows, reading.honest_rows) == (2, 7, 3 + 4 + 1)
    assert sum(reading.charge.counts) == sum(reading.forward.counts) == 5
    assert 0 < reading.forward.seconds < reading.charge.seconds


def test_a_repeated_call_is_counted_once():
    meter = Meter()
    oracle = session(meter)
    for _ in range(3):
        oracle.query(key(1), batch(3))
    assert (meter.reading.queries, meter.reading.rows) == (1, 3)


def test_counts_refusals_by_reason_and_charges_nothing_for_them():
    meter = Meter()
    oracle = session(meter)
    oracle.query(key(1), batch(3))
    for number, queries, error in (
        (2, batch(18), BudgetExhausted),
        (3, batch(19), BudgetExhausted),
        (1, batch(4), RequestConflict),
        (4, QueryBatch(inputs=torch.full((1, 2), 2.0)), InvalidQuery),
    ):
        with pytest.raises(error):
            oracle.query(key(number), queries)
    assert meter.reading.refusals == {"BudgetExhausted": 2, "RequestConflict": 1, "InvalidQuery": 1}
    assert meter.reading.rows == 3


def test_a_call_waits_while_another_one_of_its_match_is_answered():
    meter = Meter()
    inside, go_on = threading.Event(), threading.Event()

    class Slow(CountingResponder):
        def __call__(self, queries: QueryBatch) -> object:
            inside.set()
            assert go_on.wait(60)
            return super().__call__(queries)

    oracle = Session(OracleTerms(task=TASK, budget=20), responder=Slow(), ledger=MemoryLedger(budget=20), meter=meter)
    calls = [threading.Thread(target=oracle.query, args=(key(number), batch(1))) for number in range(3)]
    for call in calls:
        call.start()
    assert inside.wait(60)
    while meter.reading.waiting != 2:
        assert all(call.is_alive() for call in calls)
    go_on.set()
    for call in calls:
        call.join()
    assert (meter.reading.waiting, meter.reading.queries) == (0, 3)


def test_readings_of_several_processes_add_up():
    one, other = Meter(), Meter()
    for meter, rows in ((one, 3), (other, 4)):
        oracle = session(meter)
        oracle.query(key(1), batch(rows))
        with pytest.raises(BudgetExhausted):
            oracle.query(key(2), batch(20))
    total = one.reading + other.reading
    assert (total.queries, total.rows, total.refusals) == (2, 7, {"BudgetExhausted": 2})
    assert sum(total.charge.counts) == 2
    assert one.reading + Reading() == one.reading


def test_a_duration_is_counted_in_the_bucket_up_to_its_bound():
    meter = Meter()
    for seconds in (BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1] + 1):
        meter.charged(1, honest=False, seconds=seconds)
    assert [index for index, count in enumerate(meter.reading.charge.counts) if count] == [0, 1, len(BOUNDS)]
