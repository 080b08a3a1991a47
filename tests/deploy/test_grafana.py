"""The dashboard: every figure that it shows exists, and every figure that a run offers is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from arena.referee.outlook import Outlook
from arena.referee.referee import Progress
from arena.runs.metrics import RunFigures
from tests.runs.test_metrics import OUTLOOK
from tests.tracking.matches import result

pytest.importorskip("prometheus_client")

DASHBOARD = json.loads((Path(__file__).parents[2] / "deploy" / "grafana" / "arena-run.json").read_text())


def offered() -> dict[str, set[str]]:
    """The names of the samples that a run offers, with their labels."""
    figures = RunFigures()
    figures.watch(slots=1, look=lambda: OUTLOOK)
    figures.note(Progress(done=1, running=0, left=0, last=result(0)))
    return {sample.name: set(sample.labels) for family in figures.collect() for sample in family.samples}


def queries() -> list[tuple[str, str]]:
    return [(target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_every_figure_and_label_of_a_query_is_offered_by_a_run():
    known = offered()
    for query, legend in queries():
        (name,) = re.findall(r"arena_\w+", query)
        assert name in known, query
        grouped = re.findall(r"by \(([^)]*)\)", query)
        named = {label.strip() for group in grouped for label in group.split(",")} | set(
            re.findall(r"{{(\w+)}}", legend)
        )
        assert named <= known[name], (query, legend)


def test_every_figure_that_a_run_offers_is_shown():
    shown = {name for query, _ in queries() for name in re.findall(r"arena_\w+", query)}
    assert {name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket") for name in offered()} == {
        name.removesuffix("_bucket") for name in shown
    }


def test_a_run_that_has_not_begun_offers_figures_too():
    figures = RunFigures()
    figures.watch(slots=1, look=Outlook)
    assert {family.name for family in figures.collect()} >= {"arena_matches", "arena_oracle_rows"}


def test_panels_do_not_overlap():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
