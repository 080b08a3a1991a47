"""The checked-in messages are those that the protos give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_generated_code_is_that_of_the_protos(tmp_path: Path):
    pytest.importorskip("grpc_tools")
    subprocess.run([sys.executable, ROOT / "protos/generate.py", tmp_path], check=True)
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*_pb2*")}
    kept = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "arena/proto").rglob("*_pb2*.py*")}
    kept = {path: data for path, data in kept.items() if path.suffix != ".pyc"}
    assert fresh == kept, "run: python protos/generate.py"
