from __future__ import annotations

import json

import pytest

from arena.match.site import CACHE_VARIABLE
from arena.sandbox import bubblewrap
from tests.cli.arena import Arena
from tests.sandbox.boxes import needs_bubblewrap


def test_says_what_works_and_ends_well(arena: Arena):
    ended = arena("doctor")
    assert ended.code == 0, ended.out
    for tried in ("python and torch", "gRPC", "Ray", "MLflow", "cache", "data: digits", "sandbox"):
        assert tried in ended.out


def test_speaks_json(arena: Arena):
    findings = {finding["name"]: finding for finding in json.loads(arena("doctor", "--json").out)}
    assert findings["gRPC"]["passed"]
    assert "0 of 1 row is left" in findings["gRPC"]["detail"]
    assert findings["data: mnist"] == {
        "name": "data: mnist",
        "passed": False,
        "must": False,
        "detail": "its files are not in the data folder",
    }


def test_what_is_needed_and_broken_decides(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CACHE_VARIABLE, "/proc/no-such-cache")
    ended = arena("doctor")
    assert ended.code == 1
    assert "broken" in ended.out


def test_a_program_that_is_not_installed_is_no_fault(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bubblewrap, "PROGRAM", "no-such-program")
    ended = arena("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(ended.out)}
    assert findings["sandbox"]["detail"].startswith("no-such-program is not installed")
    assert "--unsafe" in findings["sandbox"]["detail"]
    assert ended.code == 0


class TestSandbox:
    pytestmark = needs_bubblewrap

    def test_every_promise_is_tried_and_said_to_hold_or_not(self, arena: Arena):
        findings = {finding["name"]: finding for finding in json.loads(arena("doctor", "--json").out)}
        promises = {name: finding for name, finding in findings.items() if name.startswith("sandbox: ")}
        assert promises["sandbox: no network"]["detail"] == "tried: connections, packets, names, sockets of the host"
        assert "memory" in promises["sandbox: bounded memory"]["detail"]
        assert len(promises) > 10
        assert all(finding["passed"] for finding in promises.values())
