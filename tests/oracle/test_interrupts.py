from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from arena.oracle.interrupts import EndAsked, OperatorInterrupt, raise_on_signals

AT_ONCE, NEVER = 0.0, 600.0  # seconds


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_sigterm_asks_for_the_end_and_the_second_is_an_interrupt():
    end = EndAsked()
    with end.on_sigterm(seconds=NEVER):
        assert not end
        signal.raise_signal(signal.SIGTERM)
        assert end
        with pytest.raises(OperatorInterrupt) as raised:
            signal.raise_signal(signal.SIGTERM)
    assert raised.value.number == signal.SIGTERM


def test_time_that_is_up_ends_what_the_main_thread_waits_for():
    end = EndAsked()

    def wait_for_ever() -> None:
        signal.raise_signal(signal.SIGTERM)
        threading.Event().wait()

    with end.on_sigterm(seconds=AT_ONCE), pytest.raises(OperatorInterrupt) as raised:
        wait_for_ever()
    assert end
    assert raised.value.number == signal.SIGTERM


def test_ctrl_c_is_an_interrupt_at_once():
    end = EndAsked()
    with end.on_sigterm(seconds=NEVER), pytest.raises(OperatorInterrupt) as raised:
        signal.raise_signal(signal.SIGINT)
    assert not end
    assert raised.value.number == signal.SIGINT


def test_afterwards_sigterm_is_what_it_was_and_no_time_runs_out():
    before = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with EndAsked().on_sigterm(seconds=NEVER):
        signal.raise_signal(signal.SIGTERM)
        (timer,) = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    timer.join(timeout=60)
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.active_count() == threads
