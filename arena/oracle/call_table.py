"""The table of calls in a ledger's file: its columns, and how calls become rows of it and are read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Literal, NamedTuple

from arena.learning.tensors import Packed
from arena.oracle.record import Call, Request

CREATE = """
CREATE TABLE call (
    number INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL CHECK (length(request_id) = 16),
    account INTEGER NOT NULL,
    explain INTEGER NOT NULL CHECK (explain IN (0, 1)),
    honest INTEGER NOT NULL CHECK (honest IN (0, 1)),
    price INTEGER NOT NULL CHECK (price >= 0 AND (honest = 0 OR price = 0)),
    inputs_dtype TEXT NOT NULL CHECK (inputs_dtype IN ('uint8', 'float32')),
    inputs_shape TEXT NOT NULL,
    inputs BLOB NOT NULL,
    posteriors_shape TEXT NOT NULL,
    posteriors BLOB NOT NULL,
    refused BLOB NOT NULL CHECK (length(refused) > 0),
    explanations_shape TEXT,
    explanations BLOB,
    content TEXT NOT NULL,
    link TEXT NOT NULL
) STRICT;
""".strip()


class Row(NamedTuple):
    """A call as the columns of its table; shapes are numbers separated by spaces."""

    request_id: bytes
    account: int
    explain: int
    honest: int
    price: int
    inputs_dtype: Literal["uint8", "float32"]
    inputs_shape: str
    inputs: bytes
    posteriors_shape: str
    posteriors: bytes
    refused: bytes
    explanations_shape: str | None
    explanations: bytes | None
    content: str
    link: str

    @classmethod
    def of(cls, call: Call, link: str) -> Row:
        request, explained = call.request, call.explanations
        return cls(
            request_id=request.id,
            account=request.account,
            explain=request.explain,
            honest=request.honest,
            price=call.price,
            inputs_dtype=request.inputs.dtype,
            inputs_shape=_text(request.inputs.shape),
            inputs=request.inputs.data,
            posteriors_shape=_text(call.posteriors.shape),
            posteriors=call.posteriors.data,
            refused=call.refused,
            explanations_shape=None if explained is None else _text(explained.shape),
            explanations=None if explained is None else explained.data,
            content=request.content,
            link=link,
        )

    @property
    def call(self) -> Call:
        explained = None
        if self.explanations is not None and self.explanations_shape is not None:
            explained = _floats(self.explanations_shape, self.explanations)
        return Call(
            request=Request(
                id=self.request_id,
                account=self.account,
                explain=bool(self.explain),
                honest=bool(self.honest),
                inputs=Packed(dtype=self.inputs_dtype, shape=_shape(self.inputs_shape), data=self.inputs),
                content=self.content,
            ),
            price=self.price,
            posteriors=_floats(self.posteriors_shape, self.posteriors),
            refused=self.refused,
            explanations=explained,
        )


_COLUMNS = ", ".join(Row._fields)
_INSERT = f"INSERT INTO call ({_COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"


def insert(connection: sqlite3.Connection, call: Call, link: str) -> int:
    """Add a call with its link of the hash chain, and return its number in the table."""
    number = connection.execute(_INSERT, Row.of(call, link)).lastrowid
    assert number is not None, "an insert has a row id"
    return number


def recorded(connection: sqlite3.Connection, number: int) -> Call:
    """Return the call with this number."""
    return Row._make(connection.execute(f"SELECT {_COLUMNS} FROM call WHERE number = ?", (number,)).fetchone()).call


def rows(connection: sqlite3.Connection) -> Iterator[tuple[int, Row]]:
    """Yield the calls with their numbers, in recorded order, one at a time from the file."""
    query = f"SELECT number, {_COLUMNS} FROM call ORDER BY number"
    return ((number, Row._make(columns)) for number, *columns in connection.execute(query))


def calls(connection: sqlite3.Connection) -> Iterator[Call]:
    """Yield the calls in recorded order, one at a time from the file."""
    return (row.call for _, row in rows(connection))


def _text(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _floats(shape: str, data: bytes) -> Packed:
    return Packed(dtype="float32", shape=_shape(shape), data=data)
