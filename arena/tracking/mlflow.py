"""Records results in MLflow: an experiment per tournament, a parent run per execution of it, a child run per match.

MLflow is imported only when tracking starts, because its import takes seconds. Its fluent interface is not used,
because it keeps the active run in a global and takes five times as long per match.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arena.contracts import BadParameter, MatchResult, to_json
from arena.tracking import flattening
from arena.tracking.connection import connect, reaching
from arena.tracking.experiment import DESCRIPTION, experiment_of, point_at
from arena.tracking.files import PROXIED, RunFiles, files_of
from arena.tracking.overview import Overview, Table
from arena.version import __version__

PARENT_TAG = "mlflow.parentRunId"
EXECUTION_TAG = "arena.execution"  # of a parent run: the execution of the tournament that it holds
RESULT_TAG = "arena.result"  # of a child run: the result that it holds
TABLES_TAG = "mlflow.loggedArtifacts"  # lists the tables of a run, as ``mlflow.log_table`` does
CONFUSION = "confusion.json"  # the table of which classes a match's clone confuses
CHILDREN_PER_PAGE = 1_000
BEING_PLAYED = "This tournament is being played; its findings follow when it ends."

Client = Any  # mlflow.MlflowClient: mlflow is not type-checked here
RunInfo = Any  # mlflow.entities.RunInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class _Started:
    """A connection, the parent run that it writes to, and the child runs that exist, whether complete or cut off."""

    client: Client
    experiment: str
    parent: str
    files: RunFiles
    complete: set[str] = field(default_factory=set)  # values of RESULT_TAG
    begun: dict[str, RunInfo] = field(default_factory=dict)


class MlflowTracker:
    """Writes each result once, however often it is given. Only one thread at a time may call it.

    An execution is identified by its name and its config: starting again with the same two continues the same parent
    run, even after a crash in the middle of a record.
    """

    def __init__(
        self,
        uri: str,
        *,
        execution: str,
        artifacts: Path | None = None,
        movable: bool = False,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        """Open nothing yet.

        ``artifacts`` is the folder for a new experiment's files; None: the server's default. ``movable`` is whether the
        database lies beside this folder and moves with it. ``digests`` are those of the data by description, as
        `arena.referee.keys.inputs_of_all` returns them.

        Raises `BadParameter` if ``uri`` is not the address of a database or a server.
        """
        scheme, found, _ = uri.partition("://")
        if not found or scheme == "file":
            message = (
                f"MLflow cannot keep runs in {uri!r}; give a database or a server, sqlite:///FILE or http://HOST:PORT"
            )
            raise BadParameter(message)
        self._uri, self._execution, self._artifacts, self._movable = uri, execution, artifacts, movable
        self._digests = digests or {}
        self._started: _Started | None = None

    @classmethod
    def for_folder(cls, folder: Path, uri: str = "", *, digests: Mapping[str, str] | None = None) -> MlflowTracker:
        """Return the tracker of a run folder; without an address it writes to an SQLite file in that folder."""
        folder = folder.resolve()
        remote = uri.startswith(("http://", "https://"))
        return cls(
            uri or f"sqlite:///{folder / 'mlflow.db'}",
            execution=folder.name,
            artifacts=None if remote else folder / "artifacts",
            movable=not uri,
            digests=digests,
        )

    @property
    def recorded(self) -> int:
        """The number of results of this execution in MLflow, whether written now or earlier."""
        return len(self._started.complete) if self._started else 0

    def start(self, tournament: str, config: str) -> None:
        """Connect, and open the parent run of this execution. Raises `ServiceUnreachable`, and can then be repeated."""
        with reaching(self._uri):
            client = connect(self._uri)
            experiment = experiment_of(client, tournament, place=self._place())
            parent = self._parent(client, experiment.id, config)
            files = files_of(client, experiment.place, folder=self._artifacts)
            files.write(parent, "tournament.toml", config)
            point_at(client, experiment.id, parent=parent, name=self._execution)
            started = _Started(client=client, experiment=experiment.id, parent=parent, files=files)
            _read_children(started)
        self._started = started

    def record(self, result: MatchResult) -> None:
        """Write a result as a child run, unless it exists. Raises `ServiceUnreachable`, and can then be repeated."""
        assert self._started is not None, "start is called before record"
        name = flattening.result_name(result)
        if name in self._started.complete:
            return
        with reaching(self._uri):
            if name not in self._started.begun:
                self._started.begun[name] = _begin_child(self._started, result, name)
            _write(self._started, self._started.begun[name], result, flattening.data_sets(result, self._digests))
        self._started.complete.add(name)
        del self._started.begun[name]

    def describe(self, overview: Overview) -> None:
        """Show the findings on the parent run, instead of earlier ones. Raises `ServiceUnreachable`, and can be repeated."""
        assert self._started is not None, "start is called before describe"
        with reaching(self._uri):
            _describe(self._started, overview)

    def close(self) -> None:
        """Mark the parent run as finished. Raises `ServiceUnreachable`."""
        if self._started is not None:
            with reaching(self._uri):
                self._started.client.set_terminated(self._started.parent)

    def _place(self) -> str | None:
        if self._movable:
            return f"{PROXIED}/"
        return self._artifacts.resolve().as_uri() if self._artifacts else None

    def _parent(self, client: Client, experiment: str, config: str) -> str:
        digest = hashlib.blake2b(f"{self._execution}\n{config}".encode(), digest_size=8).hexdigest()
        found = client.search_runs([experiment], f"tags.`{EXECUTION_TAG}` = '{digest}'", max_results=1)
        if found:
            parent = str(found[0].info.run_id)
            client.update_run(parent, status="RUNNING")
            return parent
        tags = {EXECUTION_TAG: digest, DESCRIPTION: BEING_PLAYED, **versions()}
        run = client.create_run(experiment, run_name=self._execution, tags=tags)
        _log_params(client, run.info.run_id, flattening.tournament_params(config))
        return str(run.info.run_id)


def log_results(
    tracker: MlflowTracker,
    tournament: str,
    config: str,
    results: Iterable[MatchResult],
    overview: Overview | None = None,
) -> int:
    """Write results that were played earlier, and their findings; return how many results were new to MLflow."""
    tracker.start(tournament, config)
    before = tracker.recorded
    for result in results:
        tracker.record(result)
    if overview is not None:
        tracker.describe(overview)
    tracker.close()
    return tracker.recorded - before


def versions() -> dict[str, str]:
    """Return the versions in use now, which may differ from those that played earlier results."""
    return {
        "version.arena": __version__,
        "version.torch": version("torch"),
        "version.ray": version("ray"),
        "version.python": platform.python_version(),
    }


def _read_children(started: _Started) -> None:
    """Find the matches that MLflow has already, and sort them into complete and cut off."""
    page = None
    while True:
        page = started.client.search_runs(
            [started.experiment],
            f"tags.`{PARENT_TAG}` = '{started.parent}'",
            max_results=CHILDREN_PER_PAGE,
            page_token=page.token if page else None,
        )
        for run in page:
            name = run.data.tags.get(RESULT_TAG)
            if run.info.end_time is None:
                started.begun[name] = run.info
            else:
                started.complete.add(name)
        if not page.token:
            return


def _begin_child(started: _Started, result: MatchResult, name: str) -> RunInfo:
    tags = {PARENT_TAG: started.parent, RESULT_TAG: name, **flattening.tags(result)}  # cheaper here than in a batch
    if result.confusion is not None:
        tags[TABLES_TAG] = _listed([CONFUSION])
    run = started.client.create_run(started.experiment, start_time=_now(), run_name=flattening.title(result), tags=tags)
    return run.info


def _write(started: _Started, child: RunInfo, result: MatchResult, data: list[flattening.DataSet]) -> None:
    """Fill and end a child run; doing it twice changes nothing, because every metric carries the run's own time."""
    from mlflow.entities import Metric, Param

    started.client.log_batch(
        child.run_id,
        metrics=[
            Metric(name, value, child.start_time, step) for (name, step), value in flattening.metrics(result).items()
        ],
        params=[Param(name, value) for name, value in flattening.params(result).items()],
        synchronous=True,
    )
    started.client.log_inputs(child.run_id, datasets=[_input(one) for one in data])
    for path, value in (("matchup.json", to_json(result.matchup)), ("result.json", to_json(result))):
        started.files.write(child.run_id, path, json.dumps(value, indent=2))
    if (confusion := flattening.confusion_table(result)) is not None:
        started.files.write(child.run_id, CONFUSION, _table_text(confusion))
    outcome = "FINISHED" if result.verdict.outcome == "completed" else "FAILED"
    started.client.set_terminated(child.run_id, status=outcome)


def _input(data: flattening.DataSet) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name=data.name, digest=data.digest, source_type="arena", source=json.dumps({"name": data.name}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])


def _log_params(client: Client, run: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(name, value) for name, value in params.items()], synchronous=True)


def _describe(started: _Started, overview: Overview) -> None:
    """Write an overview; metrics carry the present time, so that they replace those of an earlier overview."""
    from mlflow.entities import Metric, RunTag

    now = _now()
    metrics = [
        Metric(flattening.legal_name(name), value, now, step)
        for (name, step), value in overview.metrics.items()
        if math.isfinite(value)
    ]
    tables = {f"tables/{name}.json": table for name, table in overview.tables.items()}
    for path, text in overview.files.items():
        started.files.write(started.parent, path, text)
    for path, table in tables.items():
        started.files.write(started.parent, path, _table_text(table))
    tags = {
        DESCRIPTION: overview.description[: flattening.LONGEST_TAG],
        TABLES_TAG: _listed(tables),
    }
    started.client.log_batch(
        started.parent, metrics=metrics, tags=[RunTag(name, value) for name, value in tags.items()], synchronous=True
    )


def _table_text(table: Table) -> str:
    """Return a table as ``mlflow.log_table`` writes it, which appends to a table that exists and is so not used."""
    return json.dumps({"columns": list(table.columns), "data": [list(row) for row in table.rows]}, allow_nan=False)


def _listed(tables: Iterable[str]) -> str:
    """Return the list of tables for the UI, without the last ones if they are too many for a tag."""
    entries: list[dict[str, str]] = []
    for path in tables:
        longer = [*entries, {"path": path, "type": "table"}]
        if len(json.dumps(longer)) > flattening.LONGEST_TAG:
            break
        entries = longer
    return json.dumps(entries)


def _now() -> int:
    return int(time.time() * 1000)
