"""The ledger of a match in one SQLite file: each call is recorded exactly once, on disk before its answer is sent."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from arena.contracts import Answer, LedgerCorrupt, LedgerUnavailable, QueryBatch, RecordedCall, Responder
from arena.learning.tensors import Packed
from arena.oracle.ledger import OWNER_ALONE, check_budget, check_open, check_same
from arena.oracle.transcript import Call, PackedAnswer, Request, Transcript, check_record, first_link, transcript_of

_LOCK_PATIENCE = 5.0  # seconds that opening waits for the process that had the file before
_PAGE_BYTES = 16384  # a call of 256 small images is about 200 kB: fewer, larger pages are quicker to write and to sync
_CHECKPOINT_PAGES = 250  # the log is merged into the file at 4 MB: overwriting a short log is faster than a long one

_SCHEMA = """
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    attempt INTEGER NOT NULL,
    budget INTEGER NOT NULL CHECK (budget >= 0),
    spent INTEGER NOT NULL CHECK (spent BETWEEN 0 AND budget),
    link TEXT NOT NULL,
    digest TEXT,         -- of the transcript; NULL until the match is closed
    rows INTEGER,
    distinct_rows INTEGER,
    calls INTEGER
) STRICT;

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

CREATE TRIGGER head AFTER INSERT ON call BEGIN
    UPDATE ledger SET spent = spent + new.price, link = new.link;
END;
"""


class _Row(NamedTuple):
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
    def of(cls, call: Call, link: str) -> _Row:
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


_COLUMNS = ", ".join(_Row._fields)
_INSERT = f"INSERT INTO call ({_COLUMNS}) VALUES ({', '.join('?' * len(_Row._fields))})"
_SELECT = f"SELECT {_COLUMNS} FROM call"


class SqliteLedger:
    """A ledger in one file on a local disk; SQLite's log does not work over network file systems.

    Checking, responding, recording and committing a call are one transaction, which is synced to disk before the answer
    is sent. Only one process at a time has the file open. The request ids are kept in memory, because an index would
    be another page to sync for every call. ``attempt`` shuts out a process that plays an older attempt of the match.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, budget: int, attempt: int) -> None:
        self._connection = connection
        self._path = path
        self._budget = budget
        self._attempt = attempt
        head = _verified(connection, budget=budget, attempt=attempt)
        self._spent, self._link, self._digest, self._known = head.spent, head.link, head.digest, head.known
        self._lock = threading.Lock()
        if self._digest is not None:
            connection.close()

    @classmethod
    def open(cls, path: Path, *, budget: int, attempt: int = 1) -> SqliteLedger:
        """Create the file, or reopen and verify it.

        Raises `LedgerCorrupt` if its hash chain or its sums are wrong, and `LedgerUnavailable` if it cannot be opened,
        is in use, or belongs to another attempt or budget.
        """
        with _sqlite_errors():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, OWNER_ALONE))  # SQLite gives its own files the same mode
            connection = sqlite3.connect(path, timeout=_LOCK_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            with _sqlite_errors():
                _prepare(connection, budget=budget, attempt=attempt)
            return cls(connection, path, budget=budget, attempt=attempt)
        except BaseException:
            connection.close()
            raise

    @property
    def remaining(self) -> int:
        return self._budget - self._spent

    def charge(
        self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False
    ) -> Answer:
        """See `arena.contracts.Ledger`."""
        request = Request.of(request_id, queries, honest=honest)
        with self._lock:
            check_open(closed=self._digest is not None)
            units = 0 if honest else price
            with self._transaction():
                number = self._known.get((honest, request_id))
                if number is not None:
                    known = self._recorded(number)
                    check_same(request, known.request)
                    return known.answer
                check_budget(units, remaining=self.remaining, budget=self._budget)
                answer = respond(queries)
                call = Call.to(request, answer, price=units)
                link = call.link_after(self._link)
                with _sqlite_errors():
                    number = self._connection.execute(_INSERT, _Row.of(call, link)).lastrowid
            assert number is not None, "an insert has a row id"
            self._spent += units
            self._link = link
            self._known[honest, request_id] = number
            return PackedAnswer.of(answer, call)

    def calls(self) -> Iterator[RecordedCall]:
        """See `arena.contracts.Ledger`."""
        for call in self.transcript().calls:
            yield RecordedCall(queries=call.queries, answer=call.answer, honest=call.honest)

    def transcript(self) -> Transcript:
        """See `MatchLedger`."""
        with self._lock:
            if self._digest is not None:
                return read_transcript(self._path)
            with _sqlite_errors():
                return transcript_of(_calls(self._connection), budget=self._budget, attempt=self._attempt)

    def close(self) -> str:
        """See `arena.contracts.Ledger`. Closing also leaves a single file, whose bytes `read_transcript` reads.

        Raises `LedgerCorrupt`, or `LedgerUnavailable` if the disk is full; closing can then be tried again.
        """
        with self._lock:
            if self._digest is None:
                _verified(self._connection, budget=self._budget, attempt=self._attempt)
                self._digest = self._seal()
            return self._digest

    def release(self) -> None:
        """Release the file without closing the match, as the end of the process would; the file can be reopened."""
        self._connection.close()

    def _seal(self) -> str:
        with _sqlite_errors():
            transcript = transcript_of(_calls(self._connection), budget=self._budget, attempt=self._attempt)
            counts = asdict(transcript.counts)
            with self._transaction():
                self._connection.execute(
                    "UPDATE ledger SET digest = :digest, rows = :rows, distinct_rows = :distinct_rows, calls = :calls",
                    {"digest": transcript.digest, **counts},
                )
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.close()
        return transcript.digest

    def _recorded(self, number: int) -> Call:
        with _sqlite_errors():
            return _Row._make(self._connection.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone()).call

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what is done inside, or leave the file unchanged if anything is raised."""
        with _sqlite_errors():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with _sqlite_errors():
                self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite rolls back by itself when the disk is full
                self._connection.execute("ROLLBACK")
            raise


def read_transcript(source: Path | bytes) -> Transcript:
    """Return the transcript in a closed ledger's file or bytes. Raises `LedgerCorrupt` if it cannot be verified."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    with closing(sqlite3.connect(":memory:")) as connection, _sqlite_errors():
        connection.deserialize(data)
        budget, attempt, digest = connection.execute("SELECT budget, attempt, digest FROM ledger").fetchone()
        _verified(connection, budget=budget, attempt=attempt)
        transcript = transcript_of(_calls(connection), budget=budget, attempt=attempt)
        if digest != transcript.digest:
            raise LedgerCorrupt("the ledger was not closed, or its transcript digest does not match its calls")
        return transcript


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """Translate SQLite's errors: `LedgerUnavailable` if a file cannot be used, `LedgerCorrupt` if it is damaged."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError) as error:
        raise LedgerUnavailable(f"the ledger cannot be used: {error}; nothing was charged") from error
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:  # also for a missing row or an unreadable shape
        raise LedgerCorrupt(f"the ledger's file is damaged: {error}") from error


def _prepare(connection: sqlite3.Connection, *, budget: int, attempt: int) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        link = first_link(budget=budget, attempt=attempt)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split("\n\n"):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO ledger (id, attempt, budget, spent, link) VALUES (1, ?, ?, 0, ?)", (attempt, budget, link)
        )
        connection.execute("COMMIT")
    elif connection.execute("SELECT digest FROM ledger").fetchone() != (None,):
        connection.execute("PRAGMA journal_mode = DELETE")  # the process may have died between the two steps of closing
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")


class _Head(NamedTuple):
    """The state of a ledger, and the number of each call by its request."""

    spent: int
    link: str
    digest: str | None  # of the transcript of a closed match
    known: dict[tuple[bool, bytes], int]


def _verified(connection: sqlite3.Connection, *, budget: int, attempt: int) -> _Head:
    """Return the state of a ledger after recomputing its chain and sums; no request may be recorded twice."""
    with _sqlite_errors():
        row = connection.execute("SELECT attempt, budget, spent, link, digest FROM ledger").fetchone()
        found_attempt, found_budget, spent, last, digest = row
        if (found_attempt, found_budget) != (attempt, budget):
            raise LedgerUnavailable(
                f"the ledger belongs to attempt {found_attempt} with budget {found_budget}, "
                f"not to attempt {attempt} with budget {budget}"
            )
        link, total = first_link(budget=budget, attempt=attempt), 0
        known: dict[tuple[bool, bytes], int] = {}
        for number, row in _rows(connection):
            call = row.call
            if known.setdefault((call.honest, call.request.id), number) != number:
                raise LedgerCorrupt("a request is recorded twice: the ledger was damaged or edited")
            check_record(call)
            link = call.link_after(link)
            total += call.price
            if row.link != link:
                raise LedgerCorrupt("the ledger's hash chain is broken: its file was damaged or edited")
        if last != link or spent != total:
            raise LedgerCorrupt("the ledger's totals do not match its calls: its file was damaged or edited")
    return _Head(spent=spent, link=last, digest=digest, known=known)


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[int, _Row]]:
    query = f"SELECT number, {_COLUMNS} FROM call ORDER BY number"
    return ((number, _Row._make(columns)) for number, *columns in connection.execute(query))


def _calls(connection: sqlite3.Connection) -> Iterator[Call]:
    return (row.call for _, row in _rows(connection))


def _text(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _floats(shape: str, data: bytes) -> Packed:
    return Packed(dtype="float32", shape=_shape(shape), data=data)
