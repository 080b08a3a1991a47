"""A tournament as MLflow's own pages show it: matches are found, sorted and plotted without unfolding anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from arena.report.page.render import page
from arena.runs.overview import overview_of
from arena.tracking.experiment import run_address, view_address
from arena.tracking.mlflow import PARENT_TAG, MlflowTracker, log_results
from tests.browser import browser_module, needs_chromium
from tests.report.stories import small_tournament, story
from tests.tracking.servers import mlflow_server

pytestmark = [pytest.mark.chromium, pytest.mark.slow, needs_chromium]

WAIT_FOR = """
new Promise((done, fail) => {
  const look = () => document.body && (CONDITION) && done(true);
  new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
  setTimeout(() => fail(new Error(document.body.innerText)), 120000);
  look();
})
"""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A browser, and the server that it looks at."""

    page: Any
    address: str
    experiment: str
    parent: str

    def look_at(self, place: str, *, until: str) -> str:
        """Return the words on a page when it has come to show some of them."""
        self.page.look(width=1440, height=2_000)
        self.page.open(f"{self.address}/{place}")
        self.page.evaluate(WAIT_FOR.replace("CONDITION", f"document.body.innerText.includes({json.dumps(until)})"))
        return str(self.page.evaluate("document.body.innerText"))


@pytest.fixture(scope="module")
def opened(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("played") / "run"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    played = small_tournament()
    told = story(played)
    log_results(MlflowTracker.for_folder(folder), "small", "budgets = [100]", played, overview_of(told, page(told)))
    moved = folder.rename(folder.with_name("moved"))
    store = f"sqlite:///{moved / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("small").experiment_id
    (match,) = client.search_runs([experiment], "params.attack = 'jbda'", max_results=1)
    with (
        mlflow_server(store, moved / "artifacts", moved / "log") as address,
        browser_module().browser() as browser,
    ):
        yield Opened(page=browser, address=address, experiment=experiment, parent=match.data.tags[PARENT_TAG])


def test_all_matches_are_in_one_table_with_columns_of_scores(opened: Opened):
    words = opened.look_at(view_address(opened.experiment), until="knockoff vs label-only, seed 0")
    best = [line for line in words.splitlines() if " vs " in line]
    assert best[0] == "jbda vs none, seed 4, 100 rows"  # sorted by payoff
    assert len(best) == 20
    columns = "[...document.querySelectorAll('.ag-header-cell-text, [role=columnheader]')].map(e => e.innerText.trim())"
    assert {"Run Name", "payoff", "own_score", "b/fidelity"} <= set(opened.page.evaluate(columns))
    assert "all matches in one table" in words


def test_all_matches_can_be_plotted_together(opened: Opened):
    charts = f"{view_address(opened.experiment)}&compareRunsMode=CHART"
    words = opened.look_at(charts, until="jbda vs label-only, seed 0")
    assert len({line for line in words.splitlines() if " vs " in line}) == 20
    opened.page.evaluate(WAIT_FOR.replace("CONDITION", "document.querySelectorAll('.js-plotly-plot .trace').length"))


def test_the_page_of_the_tournament_has_its_findings_and_its_terms(opened: Opened):
    words = opened.look_at(run_address(opened.experiment, opened.parent), until="worst_case/label-only")
    assert "Complete: 20 of 20 matches have a result." in words
    assert "Fidelity of the best clone, %" in words
    assert "budgets" in words


def test_the_report_is_found_after_the_folder_was_moved(opened: Opened):
    place = f"#/experiments/{opened.experiment}/runs/{opened.parent}/artifacts?workflowType=machine_learning"
    words = opened.look_at(place, until="report.html")
    assert {"figures", "tables", "tournament.toml"} <= set(words.splitlines())
