from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import MatchResult, Spec
from arena.entries.loading import SandboxedEntries
from arena.match.site import Site
from arena.registry import build_defense, complete, loader_in_use
from tests.entries.entries import defense
from tests.players import MATCHUP, played
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = needs_bubblewrap


def play(spec: Spec, site: Site) -> MatchResult:
    return played(replace(MATCHUP, defense=complete("defense", spec)), site)


def test_a_defense_answers_inside_as_it_does_outside(tmp_path: Path, site: Site, cache: Path):
    """Its state, its draws and the facts that it states are the same, so that transcripts are equal."""
    spec = defense(tmp_path / "mine")
    outside = play(spec, site)
    with loader_in_use(SandboxedEntries(cache=cache)):
        inside = play(spec, site)
    assert inside.isolation == "sandbox"
    assert inside.verdict == outside.verdict
    assert (inside.transcript_digest, inside.counts) == (outside.transcript_digest, outside.counts)
    facts = {name: value for name, value in inside.measures.items() if name.startswith("defense/fact")}
    assert facts == {name: value for name, value in outside.measures.items() if name.startswith("defense/fact")}
    assert len(facts) == 1


@pytest.mark.usefixtures("sandboxed")
def test_a_defense_is_described_without_being_imported(tmp_path: Path):
    written = tmp_path / "imported"
    spec = complete(
        "defense", defense(tmp_path / "mine", imports=f"open({str(written)!r}, 'w')\n".replace("open", "# "))
    )
    player = build_defense(spec)
    assert (player.promise.stateful, player.needs, player.detection_delay) == (True, frozenset(), 0)


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('raise ValueError("no answer")', "ValueError: no answer"),
        ("import os; os._exit(4)", "it ended with exit code 4"),
    ],
)
def test_what_goes_wrong_inside_is_the_defenses_fault_and_not_charged(
    tmp_path: Path, site: Site, body: str, reason: str
):
    result = play(defense(tmp_path / "mine", body=f"if len(calls) > 1: {body}"), site)
    assert (result.verdict.outcome, result.verdict.fault) == ("crashed", "defense")
    assert reason in result.verdict.reason
    assert result.spent in (0, MATCHUP.budget)
