"""A11: what is handed back as a clone is read as safetensors of a named architecture, and never as anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arena.contracts import AttackFault
from arena.match.clones import unpack_clone
from tests.hostile.clone_files import TASK, honest, hostile_files


def test_each_hostile_file_is_refused_and_none_is_executed(tmp_path: Path):
    touched = tmp_path / "touched"
    files = hostile_files(touched)
    assert len(files) >= 12
    for data in files.values():
        with pytest.raises(AttackFault, match="clone"):
            unpack_clone(data, TASK)
    assert not touched.exists()


def test_the_files_are_hostile(tmp_path: Path):
    """Without the control, the pickle runs its command: the test above would see it."""
    touched = tmp_path / "touched"
    (tmp_path / "bomb").write_bytes(hostile_files(touched)["a checkpoint of torch.save that runs a command"])
    torch.load(tmp_path / "bomb", weights_only=False)
    assert touched.exists()


def test_an_honest_clone_is_accepted():
    assert unpack_clone(honest(), TASK)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
