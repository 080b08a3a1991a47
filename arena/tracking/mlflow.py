"""Records results in MLflow: an experiment per tournament, a parent run per execution of it, a child run per match.

MLflow is imported only when tracking starts, because its import takes seconds. Its fluent interface is not used,
because it keeps the active run in a global and takes five times as long per match.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arena.contracts import BadParameter, MatchResult, ServiceUnreachable, to_json
from arena.tracking import flattening
from arena.version import __version__

PARENT_TAG = "mlflow.parentRunId"
EXECUTION_TAG = "arena.execution"  # of a parent run: the execution of the tournament that it holds
RESULT_TAG = "arena.result"  # of a child run: the result that it holds
CHILDREN_PER_PAGE = 1_000
REFUSED_HOST = "Invalid Host header"  # in the answer of servers that guard against DNS rebinding
LONGEST_REASON = 300  # characters that are kept of an MLflow error message, which may be pages long

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # otherwise it logs every migration
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; 120 by default
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # 7 by default, with waits that double
}
"""MLflow's own settings, which it reads from the environment; values that the user has set are kept."""

Client = Any  # mlflow.MlflowClient: mlflow is not type-checked here
RunInfo = Any  # mlflow.entities.RunInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class _Started:
    """A connection, the parent run that it writes to, and the child runs that exist, whether complete or cut off."""

    client: Client
    experiment: str
    parent: str
    complete: set[str] = field(default_factory=set)  # values of RESULT_TAG
    begun: dict[str, RunInfo] = field(default_factory=dict)


class MlflowTracker:
    """Writes each result once, however often it is given. Only one thread at a time may call it.

    An execution is identified by its name and its config: starting again with the same two continues the same parent
    run, even after a crash in the middle of a record.
    """

    def __init__(self, uri: str, *, execution: str, artifacts: Path | None = None) -> None:
        """Open nothing yet. ``artifacts`` is the folder for a new experiment's files; None: the server's default.

        Raises `BadParameter` if ``uri`` is not the address of a database or a server.
        """
        scheme, found, _ = uri.partition("://")
        if not found or scheme == "file":
            message = (
                f"MLflow cannot keep runs in {uri!r}; give a database or a server, sqlite:///FILE or http://HOST:PORT"
            )
            raise BadParameter(message)
        self._uri, self._execution, self._artifacts = uri, execution, artifacts
        self._started: _Started | None = None

    @classmethod
    def for_folder(cls, folder: Path, uri: str = "") -> MlflowTracker:
        """Return the tracker of a run folder; without an address it writes to an SQLite file in that folder."""
        folder = folder.resolve()
        remote = uri.startswith(("http://", "https://"))
        return cls(
            uri or f"sqlite:///{folder / 'mlflow.db'}",
            execution=folder.name,
            artifacts=None if remote else folder / "artifacts",
        )

    @property
    def recorded(self) -> int:
        """The number of results of this execution in MLflow, whether written now or earlier."""
        return len(self._started.complete) if self._started else 0

    def start(self, tournament: str, config: str) -> None:
        """Connect, and open the parent run of this execution. Raises `ServiceUnreachable`, and can then be repeated."""
        with self._reaching():
            client = self._connect()
            experiment = self._experiment(client, tournament)
            parent = self._parent(client, experiment, config)
            client.log_text(parent, config, "tournament.toml")
            started = _Started(client=client, experiment=experiment, parent=parent)
            _read_children(started)
        self._started = started

    def record(self, result: MatchResult) -> None:
        """Write a result as a child run, unless it exists. Raises `ServiceUnreachable`, and can then be repeated."""
        assert self._started is not None, "start is called before record"
        name = flattening.result_name(result)
        if name in self._started.complete:
            return
        with self._reaching():
            if name not in self._started.begun:
                self._started.begun[name] = _begin_child(self._started, result, name)
            _write(self._started.client, self._started.begun[name], result)
        self._started.complete.add(name)
        del self._started.begun[name]

    def close(self) -> None:
        """Mark the parent run as finished. Raises `ServiceUnreachable`."""
        if self._started is not None:
            with self._reaching():
                self._started.client.set_terminated(self._started.parent)

    def _connect(self) -> Client:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        _reach_directly(urlsplit(self._uri).hostname or "")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _experiment(self, client: Client, tournament: str) -> str:
        experiment = client.get_experiment_by_name(tournament)
        if experiment is not None and experiment.lifecycle_stage == "active":
            return str(experiment.experiment_id)
        if experiment is not None:
            message = (
                f"the experiment {tournament!r} was deleted in MLflow: restore it (mlflow experiments restore "
                f"--experiment-id {experiment.experiment_id}), or give the tournament another name"
            )
            raise ServiceUnreachable(message)
        place = self._artifacts.resolve().as_uri() if self._artifacts else None
        return str(client.create_experiment(tournament, artifact_location=place))

    def _parent(self, client: Client, experiment: str, config: str) -> str:
        digest = hashlib.blake2b(f"{self._execution}\n{config}".encode(), digest_size=8).hexdigest()
        found = client.search_runs([experiment], f"tags.`{EXECUTION_TAG}` = '{digest}'", max_results=1)
        if found:
            parent = str(found[0].info.run_id)
            client.update_run(parent, status="RUNNING")
            return parent
        run = client.create_run(experiment, run_name=self._execution, tags={EXECUTION_TAG: digest, **versions()})
        return str(run.info.run_id)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except _failures() as error:
            password = urlsplit(self._uri).password or ""
            words = f"MLflow at {self._uri} failed: {_reason(error)}"
            raise ServiceUnreachable(words.replace(password, "***") if password else words) from error


def _reach_directly(host: str) -> None:
    """Connect to a server on this machine directly, whatever proxy the environment sets."""
    if host == "localhost" or host == "::1" or host.startswith("127."):
        for name in ("no_proxy", "NO_PROXY"):
            spared = [part for part in os.environ.get(name, "").split(",") if part]
            os.environ[name] = ",".join(dict.fromkeys([*spared, host]))


def log_results(tracker: MlflowTracker, tournament: str, config: str, results: Iterable[MatchResult]) -> int:
    """Write results that were played earlier, and return how many of them were new to MLflow."""
    tracker.start(tournament, config)
    before = tracker.recorded
    for result in results:
        tracker.record(result)
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
    tags = {PARENT_TAG: started.parent, RESULT_TAG: name}
    run = started.client.create_run(started.experiment, start_time=_now(), run_name=flattening.title(result), tags=tags)
    return run.info


def _write(client: Client, child: RunInfo, result: MatchResult) -> None:
    """Fill and end a child run; doing it twice changes nothing, because every metric carries the run's own time."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        child.run_id,
        metrics=[
            Metric(name, value, child.start_time, step) for (name, step), value in flattening.metrics(result).items()
        ],
        params=[Param(name, value) for name, value in flattening.params(result).items()],
        tags=[RunTag(name, value) for name, value in flattening.tags(result).items()],
        synchronous=True,
    )
    client.log_dict(child.run_id, to_json(result.matchup), "matchup.json")
    client.log_dict(child.run_id, to_json(result), "result.json")
    client.set_terminated(child.run_id, status="FINISHED" if result.verdict.outcome == "completed" else "FAILED")


def _now() -> int:
    return int(time.time() * 1000)


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors that MLflow, its artifact store, and its database driver, which may be missing, raise."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError, ImportError)


def _reason(error: Exception) -> str:
    """Return the operating system's message for a failed file or connection, else the first line of the error's own."""
    if REFUSED_HOST in str(error):
        return (
            "the server refuses the host name in its address (Invalid Host header): start it with "
            "--allowed-hosts HOST:PORT, or set MLFLOW_SERVER_ALLOWED_HOSTS"
        )
    root: BaseException = error
    while root.__cause__ or root.__context__:
        root = root.__cause__ or root.__context__ or root
    words = root.strerror if isinstance(root, OSError) and root.strerror else str(error)
    return (words.splitlines() or [type(error).__name__])[0][:LONGEST_REASON]
