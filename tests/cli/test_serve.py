"""``arena serve`` as a client in another process sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from arena.contracts import BudgetExhausted, Spec
from arena.defenses.gaussian_noise import noisy_logits
from arena.learning.randomness import derived_seed, generator, keyed_normal
from arena.match.site import Site
from arena.match.victims import load_victim
from arena.rpc.client import Connection, RemoteMatch, RemoteOracle

ROWS = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def served(tmp_path, *options):
    command = [sys.executable, "-m", "arena.cli", "serve", "--victim", "iris(arch=mlp, steps=50)", "--json", *options]
    environment = {**os.environ, "ARENA_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_prints_one_line_and_charges_any_client(tmp_path):
    with served(tmp_path, "--budget", "10") as (process, line):
        assert {"address", "token", "task", "budget"} <= line.keys()
        assert (line["task"], line["budget"]) == ({"shape": [4], "classes": 3}, 10)
        with Connection(line["address"], line["token"]) as connection:
            oracle = RemoteOracle(connection)
            assert oracle.query(ROWS).posteriors.shape == (6, 3)
            with pytest.raises(BudgetExhausted):
                oracle.query(ROWS)
        process.send_signal(signal.SIGINT)
        assert "6 of 10 units were spent" in process.communicate()[1]
        assert process.returncode == 0


def test_tells_whoever_joins_a_seed_from_which_nothing_of_the_defense_follows(tmp_path):
    defended = ("--defense", "gaussian-noise", "--budget", "10", "--seed", "3")
    with served(tmp_path, *defended) as (_, line), Connection(line["address"], line["token"]) as connection:
        match, oracle = RemoteMatch(connection), RemoteOracle(connection)
        assert match.seed == derived_seed(3, "attack")  # a small seed of the match can be found from it
        noise = keyed_normal(ROWS, 3, key=int(torch.randint(2**62, (1,), generator=generator(3, "defense"))))
        released = oracle.query(ROWS).posteriors
    iris = Spec(name="iris", params=(("arch", "mlp"), ("steps", 50)))
    clean = load_victim(iris, 0, Site(work=tmp_path, cache=tmp_path / "cache"))(ROWS)
    assert not torch.allclose(released.double(), noisy_logits(clean, noise, sigma=1.0), atol=1e-3)


def test_goes_on_under_the_same_token_after_a_kill(tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")
    defended = ("--defense", "gaussian-noise", "--budget", "20", "--ledger", ledger)
    with served(tmp_path, *defended) as (process, first):
        with Connection(first["address"], first["token"]) as connection:
            RemoteOracle(connection).query(ROWS)
        process.kill()
        process.wait()
    with (
        served(tmp_path, *defended) as (_, second),
        Connection(second["address"], first["token"]) as connection,
    ):
        assert second["token"] == first["token"]
        assert second["remaining"] == RemoteOracle(connection).remaining == 14


def test_a_port_in_use_is_one_sentence_and_exit_code_2(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "arena.cli", "serve", "--victim", "iris(arch=mlp, steps=50)", "--port", port]
        environment = {**os.environ, "ARENA_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bind_that_others_can_reach_must_be_asked_for(tmp_path):
    command = [sys.executable, "-m", "arena.cli", "serve", "--victim", "iris(arch=mlp, steps=50)", "--host", "0.0.0.0"]
    environment = {**os.environ, "ARENA_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2
    assert "other machines" in ended.stderr
