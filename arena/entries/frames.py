"""Messages between this process and a sandbox over a socket: a JSON object and the bytes of its tensors."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arena.contracts.encoding import Json
from arena.learning.tensors import Packed, check_filled

_LENGTHS = struct.Struct("<IQ")  # of the JSON text, and of the bytes behind it
MAX_TEXT_BYTES = 1 << 20
MAX_BYTES = 1 << 30


class BadFrame(Exception):
    """What arrived is no message, or there is no more."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A message."""

    about: Mapping[str, Json]
    data: bytes = b""
    tensors: Sequence[Packed] = field(default_factory=tuple)


def packed_frame(frame: Frame) -> bytes:
    """Return the bytes of a message."""
    shapes: list[Json] = [[tensor.dtype, *tensor.shape] for tensor in frame.tensors]
    text = json.dumps({**frame.about, "tensors": shapes}).encode()
    data = b"".join([*(tensor.data for tensor in frame.tensors), frame.data])
    return _LENGTHS.pack(len(text), len(data)) + text + data


def unpacked_frame(raw: bytes) -> Frame:
    """Return the message that bytes begin with. Raises `BadFrame`."""
    if len(raw) < _LENGTHS.size:
        message = f"{len(raw)} bytes are no message"
        raise BadFrame(message)
    text, data = _checked(*_LENGTHS.unpack_from(raw))
    end = _LENGTHS.size + text
    if len(raw) < end + data:
        message = f"a message of {end + data} bytes ends after {len(raw)}"
        raise BadFrame(message)
    return _frame(raw[_LENGTHS.size : end], raw[end : end + data])


def send(connection: socket.socket, frame: Frame) -> None:
    """Send a message."""
    connection.sendall(packed_frame(frame))


def receive(connection: socket.socket) -> Frame:
    """Wait for a message. Raises `BadFrame`, and TimeoutError after the connection's own time limit."""
    text, data = _checked(*_LENGTHS.unpack(_exactly(connection, _LENGTHS.size)))
    return _frame(_exactly(connection, text), _exactly(connection, data))


def _checked(text: int, data: int) -> tuple[int, int]:
    if text > MAX_TEXT_BYTES or data > MAX_BYTES:
        message = f"a message claims {text} and {data} bytes; at most {MAX_TEXT_BYTES} and {MAX_BYTES} are allowed"
        raise BadFrame(message)
    return text, data


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = connection.recv(min(length - len(found), 1 << 20))
        if not part:
            message = "the other side has closed the connection"
            raise BadFrame(message)
        found += part
    return bytes(found)


def _frame(text: bytes, data: bytes) -> Frame:
    try:
        about = json.loads(text)
        listed = about.pop("tensors")
        tensors, place = [], 0
        for kind, *sizes in listed:
            if kind not in ("float32", "uint8") or not all(type(size) is int and size >= 0 for size in sizes):
                message = f"a tensor of type {kind} and shape {sizes}"
                raise BadFrame(message)
            length = 4 if kind == "float32" else 1
            for size in sizes:
                length *= size
            tensors.append(Packed(dtype=kind, shape=tuple(sizes), data=data[place : place + length]))
            check_filled(tensors[-1])
            place += length
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        message = f"a message cannot be read: {error}"
        raise BadFrame(message) from error
    return Frame(about=about, data=data[place:], tensors=tuple(tensors))
