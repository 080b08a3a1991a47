"""The experiment of a tournament: found or made, of the kind that opens with its runs, and with a view of all matches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from arena.contracts import ServiceUnreachable

KIND = ("mlflow.experimentKind", "custom_model_development")  # else the UI shows pages about language models
IN_TRAINING_VIEW = "workflowType=machine_learning"  # newer UIs show them whatever the kind, unless an address says this
DESCRIPTION = "mlflow.note.content"  # Markdown, of an experiment or a run
VIEW = "matches"
SHARED_VIEW = (
    f"mlflow.sharedViewState.{VIEW}"  # what the UI stores under this key opens with ?viewStateShareKey=matches
)
VIEWED_PARAMS = ("attack", "defense", "victim", "pool", "budget", "seed")
VIEWED_METRICS = ("payoff", "own_score", "a/fidelity", "b/fidelity", "b/accuracy", "utility/accuracy", "utility/l1")
SORTED_BY = "metrics.`payoff`"  # sorted by a metric, the UI shows matches in one table with their tournament

Client = Any  # mlflow.MlflowClient: mlflow is not type-checked here


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment by its id, and where the files of its runs go."""

    id: str
    place: str


def experiment_of(client: Client, tournament: str, *, place: str | None) -> Experiment:
    """Return the experiment of a tournament, made if there is none; ``place`` is for the files of a new one.

    Raises `ServiceUnreachable` if it was deleted, because its name cannot be used again.
    """
    found = client.get_experiment_by_name(tournament)
    if found is not None and found.lifecycle_stage != "active":
        message = (
            f"the experiment {tournament!r} was deleted in MLflow: restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}), or give the tournament another name"
        )
        raise ServiceUnreachable(message)
    if found is None:
        client.create_experiment(tournament, artifact_location=place)
        found = client.get_experiment_by_name(tournament)
    for key, value in _tags().items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return Experiment(id=str(found.experiment_id), place=str(found.artifact_location))


def view_address(experiment: str) -> str:
    """Return the part of an address, after that of the server, at which the UI shows all matches in one table."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&{IN_TRAINING_VIEW}"


def run_address(experiment: str, run: str) -> str:
    """Return the part of an address, after that of the server, at which the UI shows a run."""
    return f"#/experiments/{experiment}/runs/{run}?{IN_TRAINING_VIEW}"


def point_at(client: Client, experiment: str, *, parent: str, name: str) -> None:
    """Describe an experiment by links: to the table of its matches, and to the findings of an execution of this name."""
    description = (
        f"A tournament of arena: [**all matches in one table**]({view_address(experiment)}), sorted by payoff, which is the "
        f"fidelity of the best clone, and [**the findings of {name}**]({run_address(experiment, parent)}), with its tables, "
        "figures and report. Steps of metrics are rows that the attack queried."
    )
    client.set_experiment_tag(experiment, DESCRIPTION, description)


def _tags() -> dict[str, str]:
    columns = [*(f"params.`{name}`" for name in VIEWED_PARAMS), *(f"metrics.`{name}`" for name in VIEWED_METRICS)]
    view = {"orderByKey": SORTED_BY, "orderByAsc": False, "selectedColumns": columns}
    return {KIND[0]: KIND[1], SHARED_VIEW: json.dumps(view)}
