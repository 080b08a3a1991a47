"""Files that somebody might hand back instead of a clone: each would do harm if the wrong program opened it."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, nn

from arena.contracts import Task
from arena.learning.architectures import build
from arena.match.clones import pack_clone

TASK = Task(shape=(1, 8, 8), classes=10)


@dataclass(frozen=True)
class Bomb:
    """Writes a file when it is unpickled."""

    path: str

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


class Reads(nn.Module):
    """A module whose TorchScript form loops."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        while bool(rows.sum() >= 0):
            rows = rows + 1
        return rows


def honest() -> bytes:
    return pack_clone(build("mlp", TASK, rng=Generator().manual_seed(0)))


def header_of(data: bytes) -> dict[str, object]:
    (length,) = struct.unpack("<Q", data[:8])
    return dict(json.loads(data[8 : 8 + length]))


def with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    """The honest clone with another header."""
    data = honest()
    (length,) = struct.unpack("<Q", data[:8])
    header = header_of(data)
    change(header)
    return with_header(header, data[8 + length :])


def first_tensor(header: dict[str, object]) -> dict[str, object]:
    name = next(name for name in header if name != "__metadata__")
    found = header[name]
    assert isinstance(found, dict)
    return found


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def exported(path: Path) -> bytes:
    """A file of torch.export: a zip archive with pickles in it."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), buffer)
    return buffer.getvalue() + pickle.dumps(Bomb(str(path)))


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Reads()), buffer)
    return buffer.getvalue()


def not_finite() -> bytes:
    network = build("mlp", TASK, rng=Generator().manual_seed(0))
    with torch.no_grad():
        next(iter(network.parameters()))[0] = float("nan")
    return pack_clone(network)


def of_architecture(name: str) -> bytes:
    return changed(lambda header: header.__setitem__("__metadata__", {"architecture": name}))


def hostile_files(touched: Path) -> Mapping[str, bytes]:
    """Every hostile file by what it tries; those that run a command would create ``touched``."""
    bomb, empty = Bomb(str(touched)), {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return {
        "a pickle that runs a command": pickle.dumps(bomb),
        "a checkpoint of torch.save that runs a command": saved({"weights": bomb}),
        "an exported program with a pickle behind it": exported(touched),
        "a script that never ends": scripted(),
        "a header longer than any file": struct.pack("<Q", 2**60) + b"{}",
        "a header longer than this file": struct.pack("<Q", 4096) + b"{}",
        "a header with 200,000 tensors": with_header({f"t{number}": empty for number in range(200_000)}),
        "a header of brackets in brackets": with_header(b"[" * 100_000),
        "a header that is no object": with_header([1, 2, 3]),
        "a header that is not text": with_header(b"\xff\xfe\x00" * 100),
        "no architecture": changed(lambda header: header.pop("__metadata__")),
        "an architecture that is code": of_architecture("__import__('os').system('id')"),
        "an architecture of a trillion units": of_architecture("mlp-1000000000000"),
        "another architecture's name": of_architecture("small-cnn"),
        "a shape of 2^40 rows": changed(lambda header: first_tensor(header).update(shape=[2**40, 0])),
        "a shape that lies": changed(lambda header: first_tensor(header).update(shape=[1])),
        "offsets behind the end": changed(lambda header: first_tensor(header).update(data_offsets=[0, 2**50])),
        "offsets that overlap": changed(lambda header: first_tensor(header).update(data_offsets=[4, 8])),
        "weights that are not finite": not_finite(),
        "data that are cut off": honest()[:-100],
        "data behind the end": honest() + b"x" * 100,
        "nothing": b"",
    }
