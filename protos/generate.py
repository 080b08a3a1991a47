"""Compiles the protos into ``arena/proto``, with the flags of protoc in one place: ``python protos/generate.py``."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

SOURCES = Path(__file__).parent


def generate(target: Path) -> None:
    """Write ``*_pb2.py``, ``*_pb2.pyi`` and ``*_pb2_grpc.py`` under ``target`` as the package ``arena.proto``.

    ``target`` is the folder that contains ``arena/``. Raises RuntimeError, with protoc's exit status, if protoc fails.
    """
    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    status = protoc.main(["protoc", f"-I{SOURCES}", f"-I{well_known}", *outputs, *protos])
    if status:
        raise RuntimeError(f"protoc failed with exit status {status}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES.parent)
