"""What MLflow shows of a tournament: every sentence and every figure is one of the report's."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

from arena.contracts import Spec
from arena.report.sections.summary import status
from arena.runs.overview import overview_of
from arena.tracking.flattening import LONGEST_TAG
from tests.payoff.matches import match, over_seeds
from tests.report.stories import hostile_tournament, small_tournament, story, with_curves


def test_the_description_says_what_was_found_and_how_sure_it_is():
    told = story(small_tournament())
    description = overview_of(told, "").description
    assert description.startswith(f"**{status(told)}**")
    assert "- With 100 rows, " in description
    assert "### Fidelity of the best clone, %" in description
    assert "| knockoff" in description


def test_the_headline_metrics_are_the_findings_at_the_budget():
    told = story(small_tournament())
    (found,) = told.found
    metrics = overview_of(told, "").metrics
    assert metrics["worst_case/label-only", 100] == found.worst_cases[0].cells[1].interval.mean
    assert metrics["own_score/jbda", 100] == found.attacks[1].own.mean
    assert metrics["equilibrium", 100] == found.equilibrium.value
    assert metrics["matches", 0] == 20


def test_several_victims_are_kept_apart_and_budgets_share_a_metric():
    small = small_tournament()
    larger = [replace(one, matchup=replace(one.matchup, budget=400)) for one in small]
    other = [replace(one, matchup=replace(one.matchup, victim=Spec(name="wine"))) for one in small]
    steps = {step for name, step in overview_of(story([*small, *larger]), "").metrics if name == "worst_case/none"}
    assert steps == {100, 400}
    names = {name for name, _ in overview_of(story([*small, *other]), "").metrics}
    assert {"digits, same/worst_case/none", "wine, same/worst_case/none"} <= names


def test_the_tables_are_those_of_the_report_and_one_of_all_matches():
    overview = overview_of(story(with_curves()), "")
    matches = overview.tables["matches"]
    assert len(matches.rows) == 5
    row = dict(zip(matches.columns, matches.rows[0], strict=True))
    assert (row["attack"], row["payoff"], row["a/fidelity"]) == ("knockoff", 0.9, 0.9)
    assert {"matrix", "divisions", "query-table"} <= set(overview.tables)
    assert all(len(line) == len(table.columns) for table in overview.tables.values() for line in table.rows)


def test_the_files_are_the_page_and_every_figure():
    files = overview_of(story(small_tournament()), "<p>page</p>").files
    assert files["report.html"] == "<p>page</p>"
    figures = [text for path, text in files.items() if path.startswith("figures/") and path.endswith(".svg")]
    assert len(figures) == len(files) - 1 >= 3
    assert all(ElementTree.fromstring(text).tag.endswith("svg") for text in figures)


def test_a_description_that_is_too_long_ends_with_where_the_rest_is():
    many = [match(f"attack-{number}", "none", seed=seed) for number in range(200) for seed in range(5)]
    overview = overview_of(story([*over_seeds("knockoff", "none", [800] * 5), *many]), "")
    assert len(overview.description) <= LONGEST_TAG
    assert "report.html" in overview.description


def test_values_that_are_not_finite_are_words_in_a_table_and_no_metric_is_made_of_them():
    broken = [match(seed=seed, measures={"utility/l1": math.nan}) for seed in range(5)]
    overview = overview_of(story(broken), "")
    place = overview.tables["matches"].columns.index("utility/l1")
    assert {row[place] for row in overview.tables["matches"].rows} == {"not finite"}
    assert all(math.isfinite(value) for value in overview.metrics.values())


def test_words_of_a_player_are_no_markup_in_the_description():
    description = overview_of(story(hostile_tournament()), "").description
    assert "<script" not in description
    assert "<img" not in description
    assert re.search(r"(?<!\\)\]\(javascript", description) is None
