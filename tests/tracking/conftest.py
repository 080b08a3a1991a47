"""An empty MLflow database, migrated once: that takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arena.tracking.mlflow import MlflowTracker


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    tracker = MlflowTracker.for_folder(folder)
    tracker.start("warm-up", "")
    tracker.close()
    return folder / "mlflow.db"


@pytest.fixture
def run_folder(migrated: Path, tmp_path: Path) -> Path:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def new_tracker(run_folder: Path) -> Callable[[], MlflowTracker]:
    """Makes trackers of one run folder, as a program that is started again would."""
    return lambda: MlflowTracker.for_folder(run_folder)
