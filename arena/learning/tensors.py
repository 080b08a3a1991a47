"""The exact bytes of tensors: digests, the lossless uint8 form of inputs, and states as safetensors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

ROW_DIGEST_BYTES = 16
_LEVELS = np.float32(255)
_ROWS_AT_ONCE = 256  # rows that are hashed together: large tensors are not converted or copied whole


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A tensor in the form in which it is stored and sent: little-endian bytes in row-major order."""

    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]
    data: bytes


def pack(tensor: Tensor, *, compact: bool = False) -> Packed:
    """Return the bytes of a float32 tensor; ``compact`` uses one byte per value if all are exactly float32(k / 255)."""
    values = (
        tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    )  # NumPy takes a quarter of the time that torch does
    if compact:
        levels = np.rint(values * _LEVELS)
        if levels.min(initial=0) >= 0 and levels.max(initial=0) <= _LEVELS:  # NaN fails both comparisons
            codes = levels.astype(np.uint8)
            if np.array_equal(unit(codes), values):
                return Packed(dtype="uint8", shape=values.shape, data=codes.tobytes())
    return Packed(dtype="float32", shape=values.shape, data=values.astype("<f4", copy=False).tobytes())


def unpack(packed: Packed) -> Tensor:
    """Return the float32 tensor that was packed, bit for bit. Raises ValueError if the bytes do not fill the shape."""
    check_filled(packed)
    if packed.dtype == "uint8":
        return torch.from_numpy(unit(np.frombuffer(packed.data, dtype=np.uint8)).reshape(packed.shape))
    return torch.from_numpy(np.frombuffer(packed.data, dtype="<f4").astype(np.float32)).reshape(packed.shape)


def check_filled(packed: Packed) -> None:
    """Raise ValueError if the bytes of a packed tensor do not fill its shape."""
    width = 1 if packed.dtype == "uint8" else 4
    expected = width
    for size in packed.shape:
        expected *= size
    strides = math.prod(max(size, 1) for size in packed.shape)  # the strides of an empty tensor can overflow too
    if expected != len(packed.data) or any(size < 0 for size in packed.shape) or strides >= 2**63:
        message = f"{len(packed.data)} bytes do not fill shape {packed.shape} of {packed.dtype}"
        raise ValueError(message)


def unit(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return float32(k / 255) for each code k. NumPy divides by IEEE 754, unlike torch on some devices."""
    return np.divide(codes, _LEVELS, dtype=np.float32)


def canonical(inputs: Tensor) -> Tensor:
    """Return contiguous float32 on the CPU, with -0.0 replaced by 0.0, so that equal rows have equal bytes."""
    return inputs.detach().to("cpu", torch.float32).contiguous() + 0.0


def row_digests(inputs: Tensor) -> list[bytes]:
    """Return the 16-byte blake2b digest of the canonical bytes of each row of inputs (N, *shape)."""
    found: list[bytes] = []
    for chunk in inputs.detach().split(_ROWS_AT_ONCE):
        rows = canonical(chunk).flatten(1).numpy()
        found += [hashlib.blake2b(row.tobytes(), digest_size=ROW_DIGEST_BYTES).digest() for row in rows]
    return found


class Digest:
    """A digest over tensors (dtype, shape and bytes), bytes and strings, which are added in order."""

    def __init__(self) -> None:
        self._state = hashlib.blake2b(digest_size=16)

    def add(self, part: Tensor | bytes | str) -> None:
        if isinstance(part, Tensor):
            self._state.update(f"{part.dtype}{tuple(part.shape)}".encode())
            for chunk in part.detach().split(_ROWS_AT_ONCE) if part.dim() and len(part) else [part]:
                values = chunk.detach().cpu().contiguous()
                if values.numel():
                    self._state.update(values.reshape(-1).view(torch.uint8).numpy().data)
        else:
            data = part.encode() if isinstance(part, str) else part
            self._state.update(len(data).to_bytes(8, "little"))
            self._state.update(data)

    def text(self) -> str:
        """Return the digest of what was added so far, 32 hex digits."""
        return self._state.hexdigest()


def digest_of(parts: Iterable[Tensor | bytes | str]) -> str:
    """Return a hex digest of 32 digits over tensors (dtype, shape and bytes), bytes and strings, in order."""
    digest = Digest()
    for part in parts:
        digest.add(part)
    return digest.text()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the digest of a state dict, which does not depend on the order of its keys."""
    return digest_of(part for name in sorted(state) for part in (name, state[name]))


def save_state(state: Mapping[str, Tensor], *, about: Mapping[str, str] | None = None) -> bytes:
    """Return a state as safetensors bytes; ``about`` is stored in the metadata of the header."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    return safetensors.torch.save(tensors, metadata=dict(about) if about else None)


def load_state(data: bytes) -> dict[str, Tensor]:
    """Return the tensors in safetensors bytes that we wrote ourselves; `arena.match.clones` reads untrusted ones."""
    return dict(safetensors.torch.load(data))
