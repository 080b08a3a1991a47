"""Where the files of a run go: through MLflow's client, or into the folder beside the database.

The database of a run folder names no folder in its runs, only ``mlflow-artifacts:``, which a server resolves to the folder
that it is started with. So the run folder can be moved, and its files are still found. MLflow's client cannot write to
such a place without a server, so the files are written here, where a server will look for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROXIED = "mlflow-artifacts:"

Client = Any  # mlflow.MlflowClient: mlflow is not type-checked here


class RunFiles(Protocol):
    """Writes the files of runs; a file that exists is replaced."""

    def write(self, run: str, path: str, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class FolderFiles:
    """Writes to a folder, laid out as MLflow's servers expect it below ``mlflow-artifacts:/``."""

    folder: Path

    def write(self, run: str, path: str, text: str) -> None:
        target = self.folder / run / "artifacts" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientFiles:
    """Writes wherever the experiment keeps its files."""

    client: Client

    def write(self, run: str, path: str, text: str) -> None:
        self.client.log_text(run, text, path)


def files_of(client: Client, place: str, *, folder: Path | None) -> RunFiles:
    """Return how to write the files of an experiment that keeps them at ``place``; ``folder`` is beside the database."""
    if folder is not None and place.startswith(PROXIED):
        return FolderFiles(folder=folder)
    return ClientFiles(client=client)
