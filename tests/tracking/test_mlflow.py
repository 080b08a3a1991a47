"""Results in a real MLflow store, each of them once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from arena.contracts import BadParameter, MatchResult, ServiceUnreachable, Verdict, from_json
from arena.tracking import mlflow as tracking
from arena.tracking.mlflow import PARENT_TAG, MlflowTracker, log_results
from tests.tracking.matches import result

NewTracker = Callable[[], MlflowTracker]


class Store:
    """What lies in the MLflow store of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")

    def runs(self, tournament: str = "digits") -> list[Any]:
        experiment = self.client.get_experiment_by_name(tournament)
        return list(self.client.search_runs([experiment.experiment_id]))

    def parents(self) -> list[Any]:
        return [run for run in self.runs() if PARENT_TAG not in run.data.tags]

    def matches(self) -> list[Any]:
        return [run for run in self.runs() if PARENT_TAG in run.data.tags]


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
    assert [file.path for file in store.client.list_artifacts(parent.info.run_id)] == ["tournament.toml"]


def test_writes_metrics_params_and_tags(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (run,) = store.matches()
    assert run.data.metrics["a/fidelity"] == 0.75
    assert run.data.params["attack/base/step"] == "0.1"
    assert run.data.tags["defense"] == "mad"
    assert run.info.run_name == "argmax vs mad, 400 queries, seed 3"


def test_draws_curves_over_rows(new_tracker: NewTracker, store: Store):
    log(new_tracker(), result())
    (run,) = store.matches()
    history = store.client.get_metric_history(run.info.run_id, "a/fidelity")
    assert {(point.step, point.value) for point in history} == {(100, 0.5), (390, 0.75)}


def test_keeps_matchup_and_result_whole(new_tracker: NewTracker, store: Store, tmp_path: Path):
    log(new_tracker(), result())
    (run,) = store.matches()
    kept = json.loads(Path(store.client.download_artifacts(run.info.run_id, "result.json", str(tmp_path))).read_text())
    assert from_json(MatchResult, kept) == result()
    assert {file.path for file in store.client.list_artifacts(run.info.run_id)} == {"matchup.json", "result.json"}
    assert (tmp_path / "artifacts").is_dir()


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
    def break_down(*_: object, **__: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_dict", break_down)
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
