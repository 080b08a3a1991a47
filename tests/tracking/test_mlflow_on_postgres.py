"""A tournament on an MLflow server that keeps its runs in PostgreSQL: what is written, found, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from arena.tracking.mlflow import PARENT_TAG, MlflowTracker, log_results
from arena.tracking.overview import Overview, Table
from tests.programs import needs
from tests.tracking.matches import result
from tests.tracking.servers import mlflow_server, postgres_server

pytestmark = [pytest.mark.postgres, pytest.mark.slow, needs("postgres", "initdb", package="postgresql")]
pytest.importorskip("psycopg2", reason="MLflow reaches PostgreSQL through psycopg2: pip install psycopg2-binary")

FOUND = Overview(
    description="**Complete**",
    metrics={("worst_case/mad", 400): 0.75},
    tables={"matrix": Table(columns=("attack", "mad"), rows=(("argmax", 75.0),))},
    files={"report.html": "<p>found</p>", "figures/matrix.svg": "<svg/>"},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with postgres_server() as store, mlflow_server(store, folder / "artifacts", folder / "log") as address:
        yield address


def test_a_tournament_is_recorded_once_and_found_by_players_scores_and_tables(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for expected in (2, 0):
        tracker = MlflowTracker.for_folder(tmp_path / "run", server)
        assert log_results(tracker, "digits", 'attacks = ["argmax"]', [result(1), result(2)], FOUND) == expected
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("digits")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    (match,) = client.search_runs(
        [experiment.experiment_id],
        "params.attack LIKE 'argmax%' and params.seed = '2' and metrics.payoff > 0.7",
        order_by=["metrics.payoff DESC"],
    )
    history = client.get_metric_history(match.info.run_id, "a/fidelity")
    assert {(point.step, point.value) for point in history} == {(100, 0.5), (390, 0.75)}
    assert {one.dataset.name for one in match.inputs.dataset_inputs} == {"digits", "digits, pool near"}
    parent = client.get_run(match.data.tags[PARENT_TAG])
    assert parent.data.tags["mlflow.note.content"] == "**Complete**"
    assert parent.data.params == {"attacks": "argmax"}
    assert parent.data.metrics == {"worst_case/mad": 0.75}
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"tournament.toml", "report.html", "figures", "tables"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)  # where MLflow's own reader of tables looks for runs
    table = client.load_table(experiment.experiment_id, "tables/matrix.json", run_ids=[parent.info.run_id])
    assert table.to_dict("list") == {"attack": ["argmax"], "mad": [75.0]}
