"""Oracle hosts and attack slots, the classes that the runner starts as Ray actors.

A Ray actor is not a security boundary: code in a worker can reach every other actor of the cluster.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import ray

from arena.cluster.clone_store import Handle, SharedCache
from arena.cluster.ledger_files import LedgerFile, at_hand, chunk_at, node_here
from arena.contracts import ArenaFault, DefenseFault, Matchup, Verdict
from arena.entries.loading import use_entries
from arena.learning.training import one_thread
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.cache import Cache
from arena.match.deployment import ledger_path, open_session
from arena.match.play import closed, prepare_match
from arena.match.preparation import prepare
from arena.match.rows import load_pool
from arena.match.scoring import PlayedMatch, Scored, score_match
from arena.match.site import Site
from arena.match.stages import StageFailed, StageOutcome, VictimReady
from arena.match.victims import load_victim, victim_key
from arena.oracle.interrupts import raise_on_signals
from arena.oracle.meter import Meter, Reading
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import read_transcript
from arena.registry import build_attack, build_defense
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import OracleServer
from arena.rpc.tls import ClientTls, ServerTls

Artefacts = Mapping[str, bytes]
"""Trained artefacts by cache key, to be sent to a process that lacks them."""

THREADS = 32  # of an oracle host; enough that a defense that hangs in some of them does not hold up other matches

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome of a training stage, with the artefacts that the runner does not have yet."""

    outcome: StageOutcome
    artefacts: Artefacts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The address of a match's oracle, and the match's token."""

    address: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The outcome of closing a match, and where its ledger is."""

    outcome: StageOutcome
    ledger: LedgerFile


@dataclass(frozen=True, kw_only=True)
class DefenseStuck(StageFailed):
    """The defense hangs in a thread of its host, which only the end of that process can free."""


class OracleHost:
    """Hosts several defended victims and many matches at once behind one gRPC server."""

    def __init__(self, site: Site, address: str | None, tls: ServerTls | None = None) -> None:
        """``address`` None means the node's own address, which attacks on other nodes can reach; ``tls`` None: no TLS."""
        use_entries(site)
        self._folder = tempfile.TemporaryDirectory(prefix="arena-ledgers-")
        self._site = replace(site, work=Path(self._folder.name))
        self._tls = tls
        self._address = address or ray.util.get_node_ip_address()
        self._meter = Meter()
        self._server = OracleServer(meter=self._meter)
        self._threads = ThreadPoolExecutor(max_workers=THREADS)  # so that the event loop stays free for other matches
        self._open: dict[str, tuple[Session, Path]] = {}

    async def node(self) -> str:
        """Return the id of the node that this process runs on."""
        return node_here()

    async def reading(self) -> Reading:
        """Return what this host's oracles have done so far."""
        return self._meter.reading

    async def until_death(self) -> None:
        """Never return, so that a caller that waits for this learns at once when the process dies."""
        await asyncio.Event().wait()

    async def open(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Opened | StageFailed:
        """Deploy the defense for one match and open its oracle; ``artefacts`` were trained in other processes."""
        if not self._server.address:
            self._server.start(self._address, exposed=True, tls=self._tls)
        seconds = self._site.limits.deploy
        try:
            session = await self._within(seconds, lambda: self._deployed(matchup, attempt, artefacts))
        except DefenseFault as error:
            return StageFailed(outcome="crashed", fault="defense", reason=str(error))
        except TimeoutError:
            return _stuck(f"{matchup.defense.name} could not be deployed within {seconds:g} s")
        token = self._server.open(session)
        self._open[token] = (session, ledger_path(self._site, matchup, attempt))
        return Opened(address=self._server.address, token=token)

    async def close(self, token: str, *, keep: bool = True) -> Closed | StageFailed:
        """Close a match's oracle, answer the rest of its honest traffic, and say where its ledger is, if it is kept."""
        session, path = self._open.pop(token)
        seconds = self._site.limits.close
        try:
            await self._within(seconds, lambda: self._server.close(token))
        except TimeoutError:
            return _stuck(f"the defense had not answered all calls {seconds:g} s after the match")
        if not keep:
            path.unlink()
        return Closed(outcome=closed(session), ledger=LedgerFile(node=node_here(), path=path))

    async def chunk(self, ledger: Path, offset: int) -> bytes:
        """Return the chunk of a closed ledger that begins at ``offset``, for a process on another node."""
        return await asyncio.to_thread(chunk_at, ledger, offset)

    async def forget(self, ledger: Path) -> None:
        """Remove a closed ledger that has been read."""
        ledger.unlink(missing_ok=True)

    async def stop(self) -> None:
        """Stop answering calls and remove all files; the caller then ends the process."""
        await asyncio.to_thread(self._server.stop)
        self._folder.cleanup()

    async def _within(self, seconds: float, work: Callable[[], _Value]) -> _Value:
        """Run ``work`` in a thread. Raises TimeoutError after ``seconds``; the thread cannot be ended and goes on."""
        started = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done, _ = await asyncio.wait({started}, timeout=seconds)
        if not done:
            raise TimeoutError
        return done.pop().result()

    def _deployed(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Session:
        _store(self._site, artefacts)
        defense = build_defense(matchup.defense)
        with one_thread():
            prepared = prepare(matchup, defense, self._site)
            return open_session(matchup, defense, prepared, self._site, attempt=attempt, meter=self._meter)


class AttackSlot:
    """Plays the attacks of one match after another, and does the training and scoring of the referee."""

    def __init__(self, site: Site, store: Handle | None = None, tls: ClientTls | None = None) -> None:
        """``store`` shares the referee's clones between the nodes of the cluster; None: they stay on this node.

        ``tls`` is how oracles are reached; None: without TLS.
        """
        use_entries(site)
        self._site, self._tls = site, tls
        self._clones = Cache(folder=site.cache) if store is None else SharedCache(folder=site.cache, store=store)
        self._report: AttackReport | None = None
        raise_on_signals((signal.SIGINT,))  # any other KeyboardInterrupt in this process comes from an attack

    def node(self) -> str:
        """Return the id of the node that this process runs on."""
        return node_here()

    def train_victim(self, matchup: Matchup) -> Trained:
        """Train the victim unless it is cached, and return it."""
        load_victim(matchup.victim, matchup.victim_seed, self._site)
        key = victim_key(matchup.victim, matchup.victim_seed, self._site)
        return Trained(outcome=VictimReady(), artefacts=self._stored([key]))

    def prepare(self, matchup: Matchup, artefacts: Artefacts, held: Collection[str]) -> Trained:
        """Train the surrogate and the defense unless they are cached, and return those that are not in ``held``."""
        _store(self._site, artefacts)
        prepared = prepare_match(matchup, build_attack(matchup.attack), build_defense(matchup.defense), self._site)
        if prepared.defended is None:
            return Trained(outcome=prepared.outcome)
        missing = [key for key in prepared.defended.artefacts if key not in held]
        return Trained(outcome=prepared.outcome, artefacts=self._stored(missing))

    def play(self, matchup: Matchup, address: str, token: str) -> AttackReport:
        """Play the attack against a remote oracle; the clone stays in this process until it is scored."""
        self._report = None
        clock = Clock(self._site.limits.play)
        pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, self._site)
        try:
            with Connection(address, token, tls=self._tls, time_left=clock) as connection:
                self._report = attack_stage(
                    build_attack(matchup.attack),
                    RemoteOracle(connection),
                    matchup=matchup,
                    pool=pool,
                    device=self._site.device,
                    clock=clock,
                )
        except ArenaFault as error:
            reason = f"{type(error).__name__}: {error}"
            return AttackReport(verdict=Verdict(outcome="infrastructure", fault="arena", stage="play", reason=reason))
        return replace(self._report, clone=None)

    def score(self, played: PlayedMatch, ledger: LedgerFile, artefacts: Artefacts) -> Scored:
        """Train the referee's clones on the transcript, score all clones and the defense, and return the result."""
        _store(self._site, artefacts)
        defense = build_defense(played.matchup.defense)
        mine, self._report = self._report, None
        clone = mine.clone if mine is not None and played.report.clone_digest else None
        with at_hand(ledger) as path:
            return score_match(
                replace(played, report=replace(played.report, clone=clone)),
                read_transcript(path),
                defense=defense,
                defended=prepare(played.matchup, defense, self._site),
                site=self._site,
                cache=self._clones,
            )

    def _stored(self, keys: Iterable[str]) -> Artefacts:
        cache = Cache(folder=self._site.cache)
        return {key: data for key in keys if (data := cache.get(key)) is not None}


def _stuck(reason: str) -> DefenseStuck:
    return DefenseStuck(outcome="timed out", fault="defense", reason=reason)


def _store(site: Site, artefacts: Artefacts) -> None:
    cache = Cache(folder=site.cache)
    for key, data in artefacts.items():
        if cache.get(key) is None:
            cache.put(key, data)
