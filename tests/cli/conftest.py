from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.arena import Arena


@pytest.fixture
def arena(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Arena:
    """The command in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Arena(monkeypatch, capsys)
