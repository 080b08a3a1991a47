"""What a user's environment brings with it: proxies, RAY_ADDRESS, terminals that are not UTF-8, signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arena.cli import watching
from arena.cluster.membership import address_of_environment
from tests.cli.arena import Arena
from tests.cli.test_bad_input import TINY, TOURNAMENT
from tests.cluster.tiny import attack_entry, waits_once

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


def test_ctrl_c_ends_a_run_in_one_sentence_and_it_can_be_resumed(tmp_path: Path, cache: Path):
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
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    last = " ".join(errors.split()).split("resolve")[-1]
    assert f"interrupted; finished matches are in {folder}. Continue with: arena resume {folder}" in last
    assert "Traceback" not in errors
    assert errors.count("interrupted") == 1


def threads_of(process: subprocess.Popen[str]) -> int:
    """The number of threads of a process; 0 if it has ended."""
    return len(list(Path(f"/proc/{process.pid}/task").glob("*")))


class TestSigterm:
    """A run whose first match plays until a gate closes that the test holds open."""

    @pytest.fixture
    def run(self, tmp_path: Path, cache: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        entry = attack_entry(tmp_path / "waiting", waits_once(tmp_path))
        os.mkfifo(tmp_path / "gate")
        attack = f'{{ path = "{entry.name}" }}'
        (tmp_path / "t.toml").write_text(TOURNAMENT.replace('{ name = "knockoff", steps = 20 }', attack))
        with contextlib.ExitStack() as started:

            def start(*options: object) -> subprocess.Popen[str]:
                command = [sys.executable, "-m", "arena.cli", "run", tmp_path / "t.toml", "--runner", "local"]
                process = subprocess.Popen(
                    [
                        *map(
                            str,
                            (
                                *command,
                                "--unsafe",
                                "--mlflow",
                                "none",
                                "--add-seeds",
                                2,
                                "--out",
                                tmp_path / "run",
                                *options,
                            ),
                        )
                    ],
                    env={**os.environ, "ARENA_CACHE": str(cache)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                started.enter_context(process)
                started.callback(process.kill)
                return process

            yield start

    def test_lets_the_running_match_end_starts_no_other_and_the_rest_can_be_played(
        self, tmp_path: Path, arena: Arena, run: Callable[..., subprocess.Popen[str]]
    ):
        process, folder = run("--grace", 600), tmp_path / "run"
        with (tmp_path / "gate").open("w"):
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143, errors
        said = " ".join(errors.split())
        assert f"terminated; finished matches are in {folder}, and 2 are left. Continue with: arena resume" in said
        assert "Traceback" not in errors
        assert (folder / "journal.jsonl").read_bytes().count(b"\n") == 1
        (tmp_path / "gate").unlink()
        (tmp_path / "gate").touch()
        assert arena("resume", folder, "--unsafe").code == 0
        assert (folder / "journal.jsonl").read_bytes().count(b"\n") == 3

    @pytest.mark.parametrize(("grace", "signals"), [(0, 1), (600, 2)])
    def test_ends_a_match_whose_time_is_up_and_a_second_one_ends_it_at_once(
        self, tmp_path: Path, run: Callable[..., subprocess.Popen[str]], grace: int, signals: int
    ):
        process = run("--grace", grace)
        with (tmp_path / "gate").open("w"):
            for _ in range(signals):
                threads = threads_of(process)
                process.send_signal(signal.SIGTERM)
                while signals > 1 and threads_of(process) == threads and process.poll() is None:
                    pass  # until the signal is handled, which starts a timer: two at once would count as one
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 143, errors
        assert "terminated; finished matches are in" in " ".join(errors.split())
        assert "Traceback" not in errors
        assert not (tmp_path / "run" / "journal.jsonl").exists()


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
