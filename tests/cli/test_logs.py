from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from arena.cli.logs import json_lines
from arena.contracts import matchup_id
from arena.referee.journal import read_journal
from tests.cli.arena import Arena
from tests.cli.test_bad_input import TOURNAMENT


def test_a_run_logs_each_match_with_its_id_and_verdict_as_json_lines(arena: Arena, tmp_path: Path):
    (tmp_path / "t.toml").write_text(TOURNAMENT.replace("seeds = 1", "seeds = 2"))
    run = tmp_path / "run"
    ended = arena("run", tmp_path / "t.toml", "--runner", "local", "--mlflow", "none", "--out", run, "--log-json")
    assert ended.code == 0, ended.err
    events = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    matches = [matchup_id(result.matchup) for result in read_journal(run)]
    assert [event["match"] for event in events if event["message"] == "match started"] == matches
    over = [event for event in events if event["message"] == "match ended"]
    assert [(event["match"], event["attempt"], event["outcome"]) for event in over] == [
        (name, 1, "completed") for name in matches
    ]
    assert {event["logger"] for event in events} == {"arena.referee.referee"}
    assert all(event["time"].endswith("Z") for event in events)


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]):
    with json_lines(wanted=True):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("arena.rpc.calls").exception("a call failed", extra={"match": "abc"})
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["level"], event["message"], event["match"]) == ("error", "a call failed", "abc")
    assert "ValueError: two" in event["exception"]


def test_afterwards_logging_is_as_it_was(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("arena")
    before = logger.level, logger.propagate, list(logger.handlers)
    with json_lines(wanted=True):
        assert logger.handlers != before[2]
    assert (logger.level, logger.propagate, logger.handlers) == before
