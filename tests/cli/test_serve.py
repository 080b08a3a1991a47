"""``arena serve`` as a client in another process sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket

import pytest
import torch

from arena.contracts import BudgetExhausted
from arena.match.site import CACHE_VARIABLE
from arena.rpc.client import Connection, RemoteOracle
from tests.cli.arena import Arena
from tests.forked import command, forked

VICTIM = "iris(arch=mlp, steps=50)"
ROWS = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def served(tmp_path, *options):
    arguments = ["serve", "--victim", VICTIM, "--json", *options]
    with forked(command, arguments, {CACHE_VARIABLE: str(tmp_path / "cache")}) as process:
        yield process, json.loads(process.out.readline())


def test_prints_one_line_and_charges_any_client(tmp_path):
    with served(tmp_path, "--budget", "10") as (process, line):
        assert {"address", "token", "task", "budget"} <= line.keys()
        assert (line["task"], line["budget"]) == ({"shape": [4], "classes": 3}, 10)
        with Connection(line["address"], line["token"]) as connection:
            oracle = RemoteOracle(connection)
            assert oracle.query(ROWS).posteriors.shape == (6, 3)
            with pytest.raises(BudgetExhausted):
                oracle.query(ROWS)
        os.kill(process.pid, signal.SIGINT)
        assert "6 of 10 units were spent" in process.err.read()
        assert process.ended() == 0


def test_goes_on_under_the_same_token_after_a_kill(tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")
    defended = ("--defense", "gaussian-noise", "--budget", "20", "--ledger", ledger)
    with served(tmp_path, *defended) as (process, first):
        with Connection(first["address"], first["token"]) as connection:
            RemoteOracle(connection).query(ROWS)
        os.kill(process.pid, signal.SIGKILL)
        assert process.ended() == -signal.SIGKILL
    with (
        served(tmp_path, *defended) as (_, second),
        Connection(second["address"], first["token"]) as connection,
    ):
        assert second["token"] == first["token"]
        assert second["remaining"] == RemoteOracle(connection).remaining == 14


@pytest.fixture
def terminable():
    """The process's own way to be terminated, which ``serve`` changes."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("terminable")
def test_a_port_in_use_is_one_sentence_and_exit_code_2(arena: Arena):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = arena("serve", "--victim", VICTIM, "--port", port)
    assert ended.code == 2
    assert port in ended.err
    assert "Traceback" not in ended.err


def test_a_bind_that_others_can_reach_must_be_asked_for(arena: Arena):
    ended = arena("serve", "--victim", VICTIM, "--host", "0.0.0.0")
    assert ended.code == 2
    assert "other machines" in ended.err
