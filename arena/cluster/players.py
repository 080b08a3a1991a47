"""What runs in Ray's processes: oracle hosts and attack slots, as plain classes; the runner makes actors of them.

A Ray actor is no security boundary: any code in a worker can reach any other actor of the cluster.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from arena.contracts import ArenaFault, DefenseFault, MatchResult, Matchup, Verdict
from arena.learning.training import one_thread
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.cache import Cache
from arena.match.deployment import ledger_path, open_session
from arena.match.ledger import read_transcript
from arena.match.play import stolen_clone
from arena.match.preparation import Prepared, load_pool, prepare
from arena.match.scoring import result_of
from arena.match.session import Session
from arena.match.site import Site
from arena.match.victims import load_victim, victim_key
from arena.registry import build_attack, build_defense
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import OracleServer

Artefacts = Mapping[str, bytes]
"""Cached training by key, on its way to a node that has not got it."""


@dataclass(frozen=True, kw_only=True)
class PreparedReport:
    """What a slot's preparation found out; ``failure`` is the defense's fault if there was one."""

    artefacts: Artefacts
    flags: tuple[str, ...] = ()
    measures: tuple[tuple[str, float], ...] = ()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Where a match's oracle listens, and the token for it; ``failure`` is the defense's fault if there was one."""

    address: str = ""
    token: str = ""
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The ledger file of a closed match, and what the defense did wrong in it."""

    ledger: bytes
    defense_fault: str = ""


class OracleHost:
    """Hosts several defended victims and many matches at once behind one gRPC server."""

    def __init__(self, site: Site, address: str | None) -> None:
        """``address`` None is the node's own, so that attacks on other nodes reach it."""
        self._folder = tempfile.TemporaryDirectory(prefix="arena-ledgers-")
        self._site = replace(site, work=Path(self._folder.name))
        self._address = address or ray.util.get_node_ip_address()
        self._server = OracleServer()
        self._starting = asyncio.Lock()
        self._started = False
        self._preparing = ThreadPoolExecutor(max_workers=1)  # beside the event loop, which answers other matches
        self._open: dict[str, tuple[Session, Path]] = {}

    def where(self) -> str:
        """Return the id of the node that this process runs on."""
        return str(ray.get_runtime_context().get_node_id())

    async def open(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Opened:
        """Deploy the defense for one match; what was trained elsewhere comes along in ``artefacts``."""
        async with self._starting:
            if not self._started:
                await self._server.start(self._address, exposed=True)
                self._started = True
        loop = asyncio.get_running_loop()
        try:
            session = await loop.run_in_executor(self._preparing, self._deployed, matchup, attempt, artefacts)
        except DefenseFault as error:
            return Opened(failure=str(error))
        token = self._server.open(session)
        self._open[token] = (session, ledger_path(self._site, matchup, attempt))
        return Opened(address=self._server.address, token=token)

    async def close(self, token: str) -> Closed:
        """End a match's queries, play the rest of its honest traffic, and hand over its ledger."""
        session, path = self._open.pop(token)
        await self._server.close(token)
        ledger = path.read_bytes()
        path.unlink()
        return Closed(ledger=ledger, defense_fault=str(session.fault) if session.fault else "")

    async def until_death(self) -> None:
        """Never return: whoever waits for it learns at once when this process dies."""
        await asyncio.Event().wait()

    def _deployed(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Session:
        _store(self._site, artefacts)
        defense = build_defense(matchup.defense)
        with one_thread():
            return open_session(matchup, defense, prepare(matchup, defense, self._site), self._site, attempt=attempt)


class AttackSlot:
    """Plays the attacker's side of one match after another, and does the referee's training beside it."""

    def __init__(self, site: Site) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="arena-slot-")
        self._site = replace(site, work=Path(self._folder.name))
        self._report: AttackReport | None = None

    def where(self) -> str:
        """Return the id of the node that this process runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def train_victim(self, matchup: Matchup) -> Artefacts:
        """Train the victim unless a cache has it, and return it."""
        load_victim(matchup.victim, matchup.victim_seed, self._site)
        return self._stored((victim_key(matchup.victim, matchup.victim_seed, self._site),))

    def prepare(self, matchup: Matchup, artefacts: Artefacts) -> PreparedReport:
        """Train surrogate and defense unless a cache has them."""
        _store(self._site, artefacts)
        attack, defense = build_attack(matchup.attack), build_defense(matchup.defense)
        try:
            prepared: Prepared = prepare(
                matchup, defense, self._site, shadow=lambda terms: stolen_clone(terms, attack, self._site)
            )
        except DefenseFault as error:
            return PreparedReport(artefacts={}, failure=str(error))
        return PreparedReport(
            artefacts=self._stored(prepared.artefacts), flags=prepared.flags, measures=prepared.measures
        )

    def play(self, matchup: Matchup, address: str, token: str, seconds: float) -> AttackReport:
        """Play the attack against a remote oracle; the clone stays here until it is scored."""
        self._report = None
        clock = Clock(seconds)
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

    def score(
        self,
        matchup: Matchup,
        attempt: int,
        closed: Closed,
        report: AttackReport,
        flags: tuple[str, ...],
        measures: Mapping[str, float],
        artefacts: Artefacts,
    ) -> MatchResult:
        """Train the referee's clones on the ledger, score everything, and return the result."""
        _store(self._site, artefacts)
        start, cpu = time.perf_counter(), time.process_time()
        clone = self._report.clone if self._report is not None and report.clone_digest else None
        self._report = None
        result = result_of(
            matchup,
            attempt=attempt,
            site=self._site,
            defense=build_defense(matchup.defense),
            report=replace(report, clone=clone),
            transcript=read_transcript(closed.ledger),
            defense_fault=closed.defense_fault,
            flags=flags,
            measures=measures,
            isolation="process",
        )
        return replace(
            result,
            measures={
                **result.measures,
                "score/wall_seconds": time.perf_counter() - start,
                "score/cpu_seconds": time.process_time() - cpu,
            },
        )

    def _stored(self, keys: tuple[str, ...]) -> Artefacts:
        cache = Cache(folder=self._site.cache)
        return {key: data for key in keys if (data := cache.get(key)) is not None}


def _store(site: Site, artefacts: Artefacts) -> None:
    cache = Cache(folder=site.cache)
    for key, data in artefacts.items():
        if cache.get(key) is None:
            cache.put(key, data)
