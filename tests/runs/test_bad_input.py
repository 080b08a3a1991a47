"""Whatever state a tournament is in, each output says what is missing, drops no row, and holds no markup of a player."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from arena.contracts import MatchResult, Spec, Verdict
from arena.report.files import results_csv
from arena.report.latex import latex
from arena.report.markdown import markdown
from arena.report.page.render import page
from arena.report.sections.story import Story
from arena.report.tables import tournament_report
from arena.runs.overview import overview_of
from tests.payoff.matches import CRASHED, match
from tests.report.stories import HOSTILE, hostile_tournament, small_tournament, story
from tests.report.test_tables import shown

THROWN_OUT = Verdict(outcome="disqualified", fault="attack", stage="play", reason="it read a file of the referee")


def _mlflow(told: Story) -> str:
    overview = overview_of(told, "")
    return overview.description + json.dumps([table.rows for table in overview.tables.values()], allow_nan=False)


OUTPUTS: dict[str, Callable[[Story], str]] = {
    "html": page,
    "terminal": lambda told: shown(tournament_report(told.record.results, told.found)),
    "latex": latex,
    "markdown": markdown,
    "csv": lambda told: results_csv(told.record.results),
    "mlflow": _mlflow,
}


@pytest.fixture(params=OUTPUTS)
def written(request: pytest.FixtureRequest) -> Callable[[Story], str]:
    return OUTPUTS[request.param]


def test_a_cell_without_a_match_that_counts_is_there_and_missing(written, request):
    results = [*small_tournament(), *(match("maze", seed=seed, verdict=CRASHED) for seed in range(5))]
    text = written(story(results))
    assert "maze" in text
    assert "missing" in text or "infrastructure" in text


def test_a_match_that_was_thrown_out_is_there(written):
    text = written(story([*small_tournament(), *(match("cheat", seed=seed, verdict=THROWN_OUT) for seed in range(5))]))
    assert "cheat" in text


@pytest.mark.parametrize("name", ["html", "terminal", "csv", "mlflow"])
def test_why_a_match_was_thrown_out_is_told(name: str):
    text = OUTPUTS[name](story([*small_tournament(), match("cheat", verdict=THROWN_OUT)]))
    assert "it read a file of the referee" in text
    assert "disqualified" in text


def test_one_match_is_shown(written):
    assert "80.0" in written(story([match()])) or "0.8" in written(story([match()]))


def test_equal_entries_are_both_there(written):
    twins = [match(Spec(name=f"/{place}/twin"), seed=seed, fidelity=700) for place in "ab" for seed in range(5)]
    text = written(story([*small_tournament(), *twins]))
    assert text.count("twin") >= 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_stop_no_output(written, value: float):
    broken = {"utility/l1": value, "utility/ece": value, "attack/steps": value, "utility/p50_seconds": value}
    text = written(story([replace(one, measures=broken) for one in small_tournament()]))
    assert all(name in text for name in ("knockoff", "jbda", "label-only"))


def test_two_hundred_attacks_are_all_there(written):
    results = [match(f"attack-{number}", seed=seed) for number in range(200) for seed in range(2)]
    text = written(story(results))
    assert [number for number in range(200) if f"attack-{number}" not in text] == []


def test_words_of_players_are_cells_of_the_csv_and_nothing_else():
    results: list[MatchResult] = hostile_tournament()
    rows = list(csv.DictReader(io.StringIO(results_csv(results))))
    assert len(rows) == len(results)
    assert {row["reason"] for row in rows} >= set(HOSTILE)


def test_words_of_players_are_no_markup_in_any_text():
    told = story(hostile_tournament())
    assert "<script>window" not in markdown(told)
    assert "\\input{/etc" not in latex(told)
    assert "\x1b" not in OUTPUTS["terminal"](told)
    assert "<script" not in overview_of(told, "").description


def test_an_interrupted_run_says_what_follows_from_its_missing_matches():
    lost = tuple(match("maze", seed=seed).matchup for seed in range(5))
    told = story(small_tournament(), missing=lost)
    for name in ("html", "markdown", "mlflow"):
        text = OUTPUTS[name](told)
        assert "20 of 25 matches have a result" in text, name
        assert "5 are missing" in text, name
        assert "may change when they are known" in text, name
