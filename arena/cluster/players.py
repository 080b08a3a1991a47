"""What runs in Ray's processes: oracle hosts and attack slots, as plain classes; the runner makes actors of them.

A Ray actor is no security boundary: any code in a worker can reach any other actor of the cluster.
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
from arena.contracts import ArenaFault, DefenseFault, Matchup, Verdict
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
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import read_transcript
from arena.registry import build_attack, build_defense
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import OracleServer

Artefacts = Mapping[str, bytes]
"""Cached training by key, on its way to a process that has not got it."""

THREADS = 32  # of an oracle host: a defense that never ends holds some of them, and must not hold up the others

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a stage of training ended in, with what it made that the runner does not hold yet."""

    outcome: StageOutcome
    artefacts: Artefacts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Where a match's oracle listens, and the token for it."""

    address: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The ledger file of a closed match, and what closing it ended in."""

    outcome: StageOutcome
    ledger: bytes


@dataclass(frozen=True, kw_only=True)
class DefenseStuck(StageFailed):
    """The defense holds a thread of its host that only the end of the process frees."""


class OracleHost:
    """Hosts several defended victims and many matches at once behind one gRPC server."""

    def __init__(self, site: Site, address: str | None) -> None:
        """``address`` None is the node's own, so that attacks on other nodes reach it."""
        self._folder = tempfile.TemporaryDirectory(prefix="arena-ledgers-")
        self._site = replace(site, work=Path(self._folder.name))
        self._address = address or ray.util.get_node_ip_address()
        self._server = OracleServer()
        self._beside = ThreadPoolExecutor(max_workers=THREADS)  # the event loop, which answers other matches
        self._open: dict[str, tuple[Session, Path]] = {}

    async def node(self) -> str:
        """Return the id of the node that this process runs on."""
        return _node()

    async def until_death(self) -> None:
        """Never return: whoever waits for it learns at once when this process dies."""
        await asyncio.Event().wait()

    async def open(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Opened | StageFailed:
        """Deploy the defense for one match; what was trained elsewhere comes along in ``artefacts``."""
        if not self._server.address:
            self._server.start(self._address, exposed=True)
        seconds = self._site.limits.deploy
        try:
            session = await self._within(seconds, lambda: self._deployed(matchup, attempt, artefacts))
        except DefenseFault as error:
            return StageFailed(outcome="crashed", fault="defense", reason=str(error))
        except TimeoutError:
            return _stuck(f"{matchup.defense.name} was not deployed within {seconds:g} s")
        token = self._server.open(session)
        self._open[token] = (session, ledger_path(self._site, matchup, attempt))
        return Opened(address=self._server.address, token=token)

    async def close(self, token: str) -> Closed | StageFailed:
        """End a match's queries, play the rest of its honest traffic, and hand over its ledger."""
        session, path = self._open.pop(token)
        seconds = self._site.limits.close
        try:
            await self._within(seconds, lambda: self._server.close(token))
        except TimeoutError:
            return _stuck(f"the defense still had calls to answer {seconds:g} s after the match")
        ledger = path.read_bytes()
        path.unlink()
        return Closed(outcome=closed(session), ledger=ledger)

    async def stop(self) -> None:
        """Take no more calls and leave no files; the process is ended by whoever asked."""
        await asyncio.to_thread(self._server.stop)
        self._folder.cleanup()

    async def _within(self, seconds: float, work: Callable[[], _Value]) -> _Value:
        """Do work in a thread. Raises TimeoutError and lets it go on: a thread cannot be ended."""
        started = asyncio.get_running_loop().run_in_executor(self._beside, work)
        done, _ = await asyncio.wait({started}, timeout=seconds)
        if not done:
            raise TimeoutError
        return done.pop().result()

    def _deployed(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Session:
        _store(self._site, artefacts)
        defense = build_defense(matchup.defense)
        with one_thread():
            return open_session(matchup, defense, prepare(matchup, defense, self._site), self._site, attempt=attempt)


class AttackSlot:
    """Plays the attacker's side of one match after another, and does the referee's training beside it."""

    def __init__(self, site: Site, store: Handle | None = None) -> None:
        """``store`` is where the cluster's nodes share the referee's clones; None: this node has them for itself."""
        self._site = site
        self._clones = Cache(folder=site.cache) if store is None else SharedCache(folder=site.cache, store=store)
        self._report: AttackReport | None = None
        raise_on_signals((signal.SIGINT,))  # what else interrupts this process is the attack that plays in it

    def node(self) -> str:
        """Return the id of the node that this process runs on."""
        return _node()

    def train_victim(self, matchup: Matchup) -> Trained:
        """Train the victim unless a cache has it, and return it."""
        load_victim(matchup.victim, matchup.victim_seed, self._site)
        key = victim_key(matchup.victim, matchup.victim_seed, self._site)
        return Trained(outcome=VictimReady(), artefacts=self._stored([key]))

    def prepare(self, matchup: Matchup, artefacts: Artefacts, held: Collection[str]) -> Trained:
        """Train surrogate and defense unless a cache has them; return what the runner does not hold yet."""
        _store(self._site, artefacts)
        prepared = prepare_match(matchup, build_attack(matchup.attack), build_defense(matchup.defense), self._site)
        if prepared.defended is None:
            return Trained(outcome=prepared.outcome)
        missing = [key for key in prepared.defended.artefacts if key not in held]
        return Trained(outcome=prepared.outcome, artefacts=self._stored(missing))

    def play(self, matchup: Matchup, address: str, token: str) -> AttackReport:
        """Play the attack against a remote oracle; the clone stays here until it is scored."""
        self._report = None
        clock = Clock(self._site.limits.play)
        pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, self._site)
        try:
            with Connection(address, token, time_left=clock) as connection:
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

    def score(self, played: PlayedMatch, ledger: bytes, artefacts: Artefacts) -> Scored:
        """Train the referee's clones on the ledger, score everything, and return the result."""
        _store(self._site, artefacts)
        defense = build_defense(played.matchup.defense)
        mine, self._report = self._report, None
        clone = mine.clone if mine is not None and played.report.clone_digest else None
        return score_match(
            replace(played, report=replace(played.report, clone=clone)),
            read_transcript(ledger),
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


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _store(site: Site, artefacts: Artefacts) -> None:
    cache = Cache(folder=site.cache)
    for key, data in artefacts.items():
        if cache.get(key) is None:
            cache.put(key, data)
