"""Results in a real MLflow store, each of them once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas
import pytest
from mlflow import MlflowClient

from arena.contracts import BadParameter, Confusion, MatchResult, ServiceUnreachable, Verdict, from_json
from arena.tracking import mlflow as tracking
from arena.tracking.files import FolderFiles
from arena.tracking.mlflow import PARENT_TAG, MlflowTracker, log_results
from arena.tracking.overview import Overview, Table
from tests.tracking.matches import result

NewTracker = Callable[[], MlflowTracker]


class Store:
    """What lies in the MLflow store of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")

    def runs(self, tournament: str = "digits") -> list[Any]:
        experiment = self.client.get_experiment_by_name(tournament)
        return list(self.client.search_runs([experiment.experiment_id]))

    def parents(self) -> list[Any]:
        return [run for run in self.runs() if PARENT_TAG not in run.data.tags]

    def matches(self) -> list[Any]:
        return [run for run in self.runs() if PARENT_TAG in run.data.tags]

    def artifacts(self, run: Any) -> Path:
        """Where a server that is started with --artifacts-destination artifacts looks for the files of a run."""
        place = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
        assert not place.startswith("/")
        return self.folder / "artifacts" / place

    def files(self, run: Any) -> set[str]:
        folder = self.artifacts(run)
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(run_folder: Path) -> Store:
    return Store(run_folder)


def log(tracker: MlflowTracker, *results: MatchResult, config: str = "seeds = 5") -> int:
    return log_results(tracker, "digits", config, results)


def test_hangs_matches_below_their_tournament(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result(1), result(2))
    (parent,) = store.parents()
    assert {run.data.tags[PARENT_TAG] for run in store.matches()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["version.arena"]
    assert parent.data.tags["version.torch"]
    assert store.files(parent) == {"tournament.toml"}


def test_writes_metrics_params_and_tags(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (run,) = store.matches()
    assert run.data.metrics["a/fidelity"] == 0.75
    assert run.data.params["attack/base/step"] == "0.1"
    assert run.data.params["defense"] == "mad(epsilon=0.5)"
    assert run.data.tags["verdict"] == "completed"
    assert run.info.run_name == "argmax(jbda) vs mad(epsilon=0.5), seed 3, 400 rows"


def test_draws_curves_over_rows(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (run,) = store.matches()
    history = store.client.get_metric_history(run.info.run_id, "a/fidelity")
    assert {(point.step, point.value) for point in history} == {(100, 0.5), (390, 0.75)}


def test_keeps_matchup_and_result_whole(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (run,) = store.matches()
    kept = json.loads((store.artifacts(run) / "result.json").read_text())
    assert from_json(MatchResult, kept) == result()
    assert store.files(run) == {"matchup.json", "result.json"}


def test_the_run_folder_can_be_moved_with_all_that_is_in_it(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    database = (store.folder / "mlflow.db").read_bytes()
    assert str(store.folder).encode() not in database


def test_keeps_the_files_of_a_database_elsewhere_in_the_run_folder(migrated: Path, tmp_path: Path):
    copy = shutil.copy(migrated, tmp_path / "elsewhere.db")
    tracker = MlflowTracker.for_folder(tmp_path / "run", f"sqlite:///{copy}")
    log(tracker, result())
    client = MlflowClient(tracking_uri=f"sqlite:///{copy}")
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id], "params.seed = '3'")
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"matchup.json", "result.json"}
    assert (tmp_path / "run" / "artifacts").is_dir()


def test_names_the_data_of_each_match(run_folder: Path, store: Store):
    tracker = MlflowTracker.for_folder(run_folder, digests={"the pool near": "2b"})
    log(tracker, result(1), result(2))
    for run in store.matches():
        found = {one.dataset.name: (one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs}
        assert found == {"digits": ("not recorded", "victim"), "digits, pool near": ("2b", "pool")}


def test_matches_are_found_by_their_players(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result(1), result(2))
    experiment = store.client.get_experiment_by_name("digits").experiment_id
    wanted = "params.defense = 'mad(epsilon=0.5)' and params.seed = '2' and metrics.payoff > 0.7"
    (found,) = store.client.search_runs([experiment], wanted)
    assert found.data.params["attack"].startswith("argmax(base=jbda")


def test_the_experiment_opens_with_its_runs_and_has_a_view_of_all_matches(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (parent,) = store.parents()
    tags = store.client.get_experiment_by_name("digits").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.matches"])
    assert view["orderByKey"] == "metrics.`payoff`"
    assert {"params.`attack`", "params.`defense`", "metrics.`payoff`"} <= set(view["selectedColumns"])
    assert "runs?viewStateShareKey=matches" in tags["mlflow.note.content"]
    assert parent.info.run_id in tags["mlflow.note.content"]


def test_the_parent_has_the_terms_of_the_tournament(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result(), config='seeds = 5\nattacks = ["knockoff"]')
    (parent,) = store.parents()
    assert parent.data.params == {"seeds": "5", "attacks": "knockoff"}


OVERVIEW = Overview(
    description="**Complete**",
    metrics={("worst_case/mad", 100): 0.8, ("worst_case/mad", 400): 0.9, ("broken", 100): float("nan")},
    tables={"matrix": Table(columns=("attack", "none"), rows=(("jbda", 0.9), ("knockoff", None)))},
    files={"report.html": "<p>found</p>", "figures/matrix.svg": "<svg/>"},
)


def test_the_parent_shows_the_findings(new_tracker: NewTracker, store: Store):
    tracker = new_tracker()
    log_results(tracker, "digits", "", [result()], OVERVIEW)
    (parent,) = store.parents()
    assert parent.data.tags["mlflow.note.content"] == "**Complete**"
    assert parent.data.metrics == {"worst_case/mad": 0.9}
    assert store.files(parent) == {"tournament.toml", "report.html", "figures/matrix.svg", "tables/matrix.json"}
    table = pandas.read_json(
        store.artifacts(parent) / "tables/matrix.json", orient="split"
    )  # as mlflow.load_table reads
    assert list(table.columns) == ["attack", "none"]
    assert list(table["attack"]) == ["jbda", "knockoff"]


def test_which_classes_a_clone_confuses_is_a_table_of_its_match(new_tracker: NewTracker, store: Store):
    confusion = Confusion(track="b", classes=2, victim=(3, 1, 0, 4), labels=(2, 2, 1, 3))
    log(new_tracker(), replace(result(), confusion=confusion))
    (run,) = store.matches()
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "confusion.json", "type": "table"}]
    assert list(pandas.read_json(store.artifacts(run) / "confusion.json", orient="split")["clone 0"]) == [3, 0, 2, 1]


def test_later_findings_replace_earlier_ones(new_tracker: NewTracker, store: Store):
    log_results(new_tracker(), "digits", "", [result(1)], OVERVIEW)
    later = replace(OVERVIEW, description="**Later**", metrics={("worst_case/mad", 400): 0.7})
    log_results(new_tracker(), "digits", "", [result(1)], later)
    (parent,) = store.parents()
    assert parent.data.tags["mlflow.note.content"] == "**Later**"
    assert parent.data.metrics == {"worst_case/mad": 0.7}
    assert len(json.loads((store.artifacts(parent) / "tables/matrix.json").read_text())["data"]) == 2


def test_lists_no_more_tables_than_a_tag_holds(new_tracker: NewTracker, store: Store):
    many = {f"table-{number}": OVERVIEW.tables["matrix"] for number in range(400)}
    log_results(new_tracker(), "digits", "", [], replace(OVERVIEW, tables=many))
    (parent,) = store.parents()
    listed = json.loads(parent.data.tags["mlflow.loggedArtifacts"])
    assert listed[0] == {"path": "tables/table-0.json", "type": "table"}
    assert 50 < len(listed) < 400
    assert len([name for name in store.files(parent) if name.startswith("tables/")]) == 400


def test_marks_what_did_not_complete_as_failed(new_tracker: NewTracker, store: Store):
    log(new_tracker(), replace(result(), verdict=Verdict(outcome="crashed", fault="attack", stage="play")))
    (run,) = store.matches()
    assert run.info.status == "FAILED"
    assert (run.data.tags["verdict"], run.data.tags["fault"]) == ("crashed", "attack")


def test_records_a_result_once(new_tracker: NewTracker, store: Store):
    assert log(new_tracker(), result(1), result(1), result(2)) == 2
    assert len(store.matches()) == 2


def test_logs_only_what_is_new_when_it_is_started_again(new_tracker: NewTracker, store: Store):
    assert log(new_tracker(), result(1)) == 1
    assert log(new_tracker(), result(1)) == 0
    assert log(new_tracker(), result(1), result(2)) == 1
    assert len(store.parents()) == 1


def test_reads_all_pages_of_what_is_there(new_tracker: NewTracker, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking, "CHILDREN_PER_PAGE", 1)
    log(new_tracker(), result(1), result(2), result(3))
    assert log(new_tracker(), result(1), result(2), result(3)) == 0


def test_keeps_another_config_apart(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result(), config="seeds = 5")
    log(new_tracker(), result(), config="seeds = 6")
    assert len(store.parents()) == len(store.matches()) == 2


def test_finishes_a_record_that_was_cut_off(new_tracker: NewTracker, store: Store, monkeypatch: pytest.MonkeyPatch):
    write = FolderFiles.write

    def break_down_for_matches(files: FolderFiles, run: str, path: str, text: str) -> None:
        if path == "result.json":
            raise ConnectionResetError
        write(files, run, path, text)

    with monkeypatch.context() as broken:
        broken.setattr(FolderFiles, "write", break_down_for_matches)
        with pytest.raises(ServiceUnreachable, match="ConnectionResetError"):
            log(new_tracker(), result())
    assert log(new_tracker(), result()) == 1
    (run,) = store.matches()
    assert run.info.status == "FINISHED"
    assert len(store.client.get_metric_history(run.info.run_id, "a/fidelity")) == 2


def test_says_quickly_that_a_server_does_not_answer():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        tracker = MlflowTracker(f"http://user:secret@{address}", execution="here")
        with pytest.raises(ServiceUnreachable, match=f"{address} failed: Connection refused") as caught:
            tracker.start("digits", "")
    assert "secret" not in str(caught.value)


def test_says_that_a_deleted_tournament_must_be_restored(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    store.client.delete_experiment(store.client.get_experiment_by_name("digits").experiment_id)
    with pytest.raises(ServiceUnreachable, match="deleted"):
        log(new_tracker(), result())
    with pytest.raises(ServiceUnreachable, match=r"mlflow experiments restore --experiment-id \d+.*another name"):
        log(new_tracker(), result())


def test_says_how_to_let_a_server_know_its_own_name(monkeypatch: pytest.MonkeyPatch):
    """The words are those of MLflow's servers since 3.5."""

    class Refusing(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            words = b"Invalid Host header - possible DNS rebinding attack detected"
            self.send_response(403)
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        do_GET = do_POST = refuse  # noqa: N815  # names that http.server looks for

        def log_message(self, *arguments: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY"):  # not asked for a server on this machine
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tracker = MlflowTracker(f"http://127.0.0.1:{server.server_port}", execution="here")
        with pytest.raises(ServiceUnreachable, match="--allowed-hosts HOST:PORT"):
            tracker.start("digits", "config")
        server.shutdown()


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_refuses_a_folder_as_store(uri: str):
    with pytest.raises(BadParameter, match="sqlite:///FILE"):
        MlflowTracker(uri, execution="here")


def test_prints_nothing(tmp_path: Path):
    script = (
        "from pathlib import Path\n"
        "from arena.tracking.mlflow import MlflowTracker, log_results\n"
        "from tests.tracking.matches import result\n"
        f"log_results(MlflowTracker.for_folder(Path({str(tmp_path)!r})), 'digits', '', [result()])\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
