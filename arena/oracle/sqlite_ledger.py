"""The ledger of a match in one SQLite file: each call is recorded exactly once, on disk before its answer is sent."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from arena.contracts import Answer, LedgerCorrupt, LedgerUnavailable, QueryBatch, RecordedCall, Responder
from arena.oracle import call_table
from arena.oracle.ledger import OWNER_ALONE, check_budget, check_open, check_same
from arena.oracle.record import Call, PackedAnswer, Request, check_record, first_link
from arena.oracle.transcript import Summary, Transcript, transcript_of

_LOCK_PATIENCE = 5.0  # seconds that opening waits for the process that had the file before
_PAGE_BYTES = 16384  # a call of 256 small images is about 200 kB: fewer, larger pages are quicker to write and to sync
_CHECKPOINT_PAGES = 250  # the log is merged into the file at 4 MB: overwriting a short log is faster than a long one

_SCHEMA = f"""
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

{call_table.CREATE}

CREATE TRIGGER head AFTER INSERT ON call BEGIN
    UPDATE ledger SET spent = spent + new.price, link = new.link;
END;
"""


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
        self._transcript: Transcript | None = None
        if self._closed:
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
            check_open(closed=self._closed)
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
                    number = call_table.insert(self._connection, call, link)
            self._spent += units
            self._link = link
            self._known[honest, request_id] = number
            return PackedAnswer.of(answer, call)

    def calls(self) -> Iterator[RecordedCall]:
        """See `arena.contracts.Ledger`."""
        recorded = self.transcript().calls if self._closed else map(self._read, list(self._known.values()))
        for call in recorded:
            yield RecordedCall(queries=call.queries, answer=call.answer, honest=call.honest)

    def transcript(self) -> Transcript:
        """See `MatchLedger`."""
        with self._lock:
            if not self._closed:
                with _sqlite_errors():
                    return transcript_of(call_table.calls(self._connection), budget=self._budget, attempt=self._attempt)
            if self._transcript is None:
                self._transcript = read_transcript(self._path)
            return self._transcript

    def close(self) -> str:
        """See `arena.contracts.Ledger`. Closing also leaves a single file, which `read_transcript` reads.

        Raises `LedgerCorrupt`, or `LedgerUnavailable` if the disk is full; closing can then be tried again.
        """
        with self._lock:
            if self._digest is None:
                summary = Summary()
                head = _verified(self._connection, budget=self._budget, attempt=self._attempt, summary=summary)
                self._seal(summary)
                self._transcript = _transcript(self._path, summary, link=head.link)
                self._digest = summary.digest
            return self._digest

    def release(self) -> None:
        """Release the file without closing the match, as the end of the process would; the file can be reopened."""
        self._connection.close()

    @property
    def _closed(self) -> bool:
        return self._digest is not None

    def _seal(self, summary: Summary) -> None:
        with _sqlite_errors():
            with self._transaction():
                self._connection.execute(
                    "UPDATE ledger SET digest = :digest, rows = :rows, distinct_rows = :distinct_rows, calls = :calls",
                    {"digest": summary.digest, **asdict(summary.counts)},
                )
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.close()

    def _read(self, number: int) -> Call:
        with self._lock:
            return self._recorded(number)

    def _recorded(self, number: int) -> Call:
        with _sqlite_errors():
            return call_table.recorded(self._connection, number)

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


def read_transcript(path: Path) -> Transcript:
    """Return the transcript in a closed ledger's file, which stays there: its calls are read from it when they are used.

    Raises `LedgerCorrupt` if it cannot be verified, and `LedgerUnavailable` if there is no such file.
    """
    with _read_only(path) as connection, _sqlite_errors():
        budget, attempt, digest = connection.execute("SELECT budget, attempt, digest FROM ledger").fetchone()
        summary = Summary()
        head = _verified(connection, budget=budget, attempt=attempt, summary=summary)
    if digest != summary.digest:
        raise LedgerCorrupt("the ledger was not closed, or its transcript digest does not match its calls")
    return _transcript(path, summary, link=head.link)


def _transcript(path: Path, summary: Summary, *, link: str) -> Transcript:
    return Transcript(
        calls=_CallsInFile(path, summary.calls),
        digest=summary.digest,
        counts=summary.counts,
        link=link,
        folder=path.parent,
    )


class _CallsInFile:
    """The calls in a closed ledger's file; iterating reads one at a time."""

    def __init__(self, path: Path, number: int) -> None:
        self._path, self._number = path, number

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Call]:
        with _read_only(self._path) as connection, _sqlite_errors():
            yield from call_table.calls(connection)


@contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a closed ledger's file, which nobody writes to any more, without copying or locking it."""
    with _sqlite_errors():
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    with closing(connection):
        yield connection


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


def _verified(connection: sqlite3.Connection, *, budget: int, attempt: int, summary: Summary | None = None) -> _Head:
    """Return the state of a ledger after recomputing its chain and sums; no request may be recorded twice.

    The calls are read one at a time, and are added to ``summary``.
    """
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
        for number, row in call_table.rows(connection):
            call = row.call
            if known.setdefault((call.honest, call.request.id), number) != number:
                raise LedgerCorrupt("a request is recorded twice: the ledger was damaged or edited")
            check_record(call)
            if summary is not None:
                summary.add(call)
            link = call.link_after(link)
            total += call.price
            if row.link != link:
                raise LedgerCorrupt("the ledger's hash chain is broken: its file was damaged or edited")
        if last != link or spent != total:
            raise LedgerCorrupt("the ledger's totals do not match its calls: its file was damaged or edited")
    return _Head(spent=spent, link=last, digest=digest, known=known)
