"""What a user's environment brings with it: proxies, RAY_ADDRESS, terminals that are not UTF-8, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arena.cli import watching
from arena.cluster.membership import address_of_environment
from tests.cli.arena import Arena
from tests.cli.test_bad_input import TINY, TOURNAMENT

PROXY = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def ended(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    spared = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return subprocess.run(
        [sys.executable, "-m", "arena.cli", *map(str, arguments)],
        env={**spared, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_match_over_grpc_is_played_whatever_proxy_is_set(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    for name, value in PROXY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    played = arena("play", "--victim", TINY, "--attack", "knockoff(steps=5)", "--budget", 20, "--steps", 5, "--grpc")
    assert played.code == 0, played.err


@pytest.mark.parametrize(
    ("named", "joined", "said"),
    [
        ("", None, ""),
        ("10.0.0.1:6379", "10.0.0.1:6379", "joining the Ray cluster at 10.0.0.1:6379, as RAY_ADDRESS says"),
        ("auto", None, "RAY_ADDRESS=auto is ignored, because it is not host:port"),
        ("http://10.0.0.1:8265", None, "is ignored, because it is not host:port; a cluster is started here"),
    ],
)
def test_ray_address_is_taken_as_address_would_be_or_ignored_and_said(
    named: str, joined: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RAY_ADDRESS", named)
    assert address_of_environment() == joined
    assert watching.told_address_of_environment() == joined
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_cluster_of_the_environment_that_does_not_answer_is_said_like_one_of_the_command_line(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    (tmp_path / "t.toml").write_text(TOURNAMENT)
    run = arena("run", tmp_path / "t.toml", "--out", tmp_path / "run", "--mlflow", "none")
    assert run.code == 2
    assert "nothing answers at 127.0.0.1:9" in " ".join(run.err.split())
    assert "Traceback" not in run.err


def test_an_ascii_terminal_gets_the_table_in_ascii(tmp_path: Path, cache: Path):
    (tmp_path / "t.toml").write_text(TOURNAMENT)
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "ARENA_CACHE": str(cache)}
    run = ended(
        "run", tmp_path / "t.toml", "--runner", "local", "--mlflow", "none", "--out", tmp_path / "run", **ascii_only
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "knockoff" in run.stdout
    assert run.stdout.isascii()
    shown = ended("play", "--victim", TINY, "--budget", 20, "--steps", 5, "--attack", "knockoff(steps=5)", **ascii_only)
    assert "decisions flipped" in shown.stdout


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_run_in_one_sentence_and_it_can_be_resumed(
    number: int, code: int, word: str, tmp_path: Path, cache: Path
):
    (tmp_path / "t.toml").write_text(TOURNAMENT.replace("seeds = 1", "seeds = 400"))
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "arena.cli", "run", str(tmp_path / "t.toml"), "--runner", "local"]
    process = subprocess.Popen(
        [*command, "--mlflow", "none", "--out", str(folder)],
        env={**os.environ, "ARENA_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while not (folder / "journal.jsonl").exists():
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    last = " ".join(errors.split()).split("resolve")[-1]
    assert f"{word}; finished matches are in {folder}. Continue with: arena resume {folder}" in last
    assert "Traceback" not in errors
    assert errors.count(word) == 1


def test_resume_takes_what_run_takes(arena: Arena, tmp_path: Path):
    text = arena("resume", "--help").out
    assert all(option in text for option in ("--runner", "--address", "--mlflow", "--data"))


def test_doctor_looks_at_what_the_environment_brings(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = " ".join(arena("doctor").out.split())
    assert "http_proxy is set" in found
    assert "joins the cluster at 10.0.0.1:6379" in found
    assert "torchvision" in found
    assert "terminal" in found
