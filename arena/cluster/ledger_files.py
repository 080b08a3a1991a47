"""How the file of a closed ledger gets from one process to another: by its path on one node, else chunk by chunk.

No process ever holds a whole file, and none has to fit into Ray's object store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ray

from arena.oracle.ledger import OWNER_ALONE

CHUNK_BYTES = 8 * 2**20

Host: TypeAlias = Any  # ray.actor.ActorHandle of an OracleHost, whose methods exist only at run time
Chunk: TypeAlias = Any  # ray.ObjectRef of bytes: its generic parameter is not part of Ray's public types


@dataclass(frozen=True, kw_only=True)
class LedgerFile:
    """The file of a closed ledger on one node, and its chunks if another node has to read it."""

    node: str
    path: Path
    chunks: tuple[Chunk, ...] = ()


def node_here() -> str:
    """Return the id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def chunk_at(path: Path, offset: int) -> bytes:
    """Return the chunk of a file that begins at ``offset``; it is empty at the file's end."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)


def bring(ledger: LedgerFile, host: Host, path: Path) -> None:
    """Move a ledger from its host to ``path`` on this node. Raises Ray's error if the host dies meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ledger.node == node_here() and ledger.path.exists():
        shutil.move(ledger.path, path)
        return
    _write(path, _from_host(ledger, host))
    host.forget.remote(ledger.path)


def for_node(path: Path, node: str) -> LedgerFile:
    """Return a ledger on this node as a process on ``node`` can read it; "" stands for a node that is not known yet."""
    here = node_here()
    chunks = () if node == here else tuple(ray.put(chunk) for chunk in _chunks(path))
    return LedgerFile(node=here, path=path, chunks=chunks)


@contextmanager
def at_hand(ledger: LedgerFile) -> Iterator[Path]:
    """Yield the path of a ledger on this node, which is a temporary copy if the ledger is on another one."""
    if not ledger.chunks:
        yield ledger.path
        return
    with tempfile.TemporaryDirectory(prefix="arena-ledger-") as folder:
        path = Path(folder) / ledger.path.name
        _write(path, (ray.get(chunk) for chunk in ledger.chunks))
        yield path


def _from_host(ledger: LedgerFile, host: Host) -> Iterator[bytes]:
    offset = 0
    while chunk := ray.get(host.chunk.remote(ledger.path, offset)):
        yield chunk
        offset += len(chunk)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, OWNER_ALONE)) as file:
        file.writelines(chunks)
