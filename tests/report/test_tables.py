from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console, RenderableType

from arena.contracts import MatchResult, Verdict
from arena.payoff.matrix import matrices
from arena.report.tables import match_table, sentences, tournament_report
from tests.payoff.results import result, table

FLOOR = {"floor/fidelity": (10, 100), "victim/accuracy": (95, 100)}


def shown(what: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(what)
    return console.export_text()


def with_floor(results: list[MatchResult]) -> list[MatchResult]:
    return [replace(one, counts={**one.counts, **FLOOR} if one.counts else {}) for one in results]


TOURNAMENT = with_floor(
    table(
        {
            ("knockoff", "none"): [80, 82, 81, 79, 80],
            ("jbda", "none"): [90, 92, 91, 89, 90],
            ("knockoff", "label-only"): [60, 62, 61, 59, 60],
            ("jbda", "label-only"): [50, 52, 51, 49, None],
        }
    )
)


def test_a_tournament_shows_cells_intervals_yardsticks_and_worst_cases():
    text = shown(tournament_report(TOURNAMENT))
    row = next(line for line in text.splitlines() if line.strip().startswith("knockoff *"))
    assert "80.4 ±1.4" in row
    assert "60.4 ±1.4" in row
    assert "label-only *" in text
    assert "worst case" in text
    assert "asked nothing" in text
    assert "infrastructure" in text


def test_what_the_numbers_say_is_said_in_three_sentences():
    (matrix,) = matrices(TOURNAMENT)
    shows, helps, does_not = sentences(matrix)
    assert "90.4 ±1.4 % fidelity (jbda), where a clone that asked nothing has 10.0 %" in shows
    assert "told apart from random queries there: jbda (+10.0)" in shows
    assert "label-only leaves the least" in helps
    assert does_not.startswith("It does not show")


def test_a_tournament_without_an_undefended_victim_says_what_it_cannot_say():
    (matrix,) = matrices(with_floor(table({("knockoff", "mad"): [50] * 5})))
    assert "add the defense none" in sentences(matrix)[0]
    (matrix,) = matrices(with_floor(table({("jbda", "none"): [50] * 5})))
    assert "random queries were not played" in sentences(matrix)[0]
    assert "plays no defense" in sentences(matrix)[1]


def test_a_tournament_of_missing_matches_is_still_a_report():
    assert "missing" in shown(tournament_report(table({("knockoff", "none"): [None, None]})))
    assert shown(tournament_report([])) == "\n" or shown(tournament_report([])) == ""


def test_a_match_shows_its_verdict_and_what_a_player_printed():
    crashed = replace(
        result("knockoff", "none", 50, counts=FLOOR),
        verdict=Verdict(outcome="crashed", fault="attack", stage="play", reason="out of [ideas]", output="epoch [/1]"),
        flags=("leak",),
    )
    text = shown(match_table(crashed))
    assert "crashed (fault: attack, stage play): out of [ideas]" in text
    assert "leak" in text
    assert "epoch [/1]" in text
    assert "out of [ideas]" in shown(tournament_report([crashed]))
