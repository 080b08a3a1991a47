"""The runner on Ray: matches go through their stages on actors, each stage with a time limit that ends the work.

It never retries. Actors have no restarts: a dead oracle host ends the attempt, and the referee plays the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError, TaskCancelledError

from arena.cluster.players import Artefacts, AttackSlot, Closed, Opened, OracleHost, PreparedReport
from arena.cluster.resources import demand, slots_for
from arena.cluster.session import WORKER_ENVIRONMENT, join, leave
from arena.contracts import ArenaError, Fault, MatchResult, Matchup, Outcome, Spec, UsageError, Verdict
from arena.match.attacking import AttackReport
from arena.match.deployment import ledger_path
from arena.match.site import Site
from arena.referee.tournament import Resources, Share

Stage = Literal["victim", "prepare", "deploy", "play", "close", "score"]
Ref = Any  # ray.ObjectRef: its generic parameter is not part of Ray's public types
Actor = Any  # ray.actor.ActorHandle, whose methods exist only at run time

GRACE_SECONDS = 10.0  # an attack that watches its clock returns by itself; one that does not is killed after this
START_SECONDS = 300.0  # for an actor's process: it imports torch
NODE_LOSS_SECONDS = 15.0  # to learn whether a dead actor's node died with it


@dataclass(eq=False)
class _Process:
    """An actor; ``where`` resolves to its node, ``alive`` to an error when it dies."""

    actor: Actor
    where: Ref
    alive: Ref = None
    has: set[str] = field(default_factory=set)  # keys of artefacts that it was given

    def new(self, artefacts: Artefacts) -> Artefacts:
        """Return what this process has not been given yet, and count it as given."""
        missing = {key: data for key, data in artefacts.items() if key not in self.has}
        self.has |= set(missing)
        return missing


@dataclass(eq=False)
class _Playing:
    """One attempt of one match, and the stage it is in."""

    matchup: Matchup
    attempt: int
    slot: _Process
    host: _Process
    stage: Stage = "victim"
    ref: Ref = None
    deadline: float = 0.0
    artefacts: dict[str, bytes] = field(default_factory=dict)
    prepared: PreparedReport = field(default_factory=lambda: PreparedReport(artefacts={}))
    opened: Opened = field(default_factory=Opened)
    report: AttackReport = field(default_factory=lambda: AttackReport(verdict=Verdict(outcome="completed")))


class RayRunner:
    """Plays matches over gRPC between actors: attack slots on one side, oracle hosts on the other."""

    def __init__(self, site: Site, *, resources: Resources | None = None, address: str | None = None) -> None:
        """Join the cluster at ``address``, or start one here. Ledgers of finished matches go to ``site.work``.

        Raises `ServiceUnreachable` if the cluster does not answer, `BadParameter` if it cannot place the shares.
        """
        self._resources = resources or Resources()
        self._site = site
        self._started_here = not ray.is_initialized()
        join(address)
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.slots = slots_for(self._resources, nodes)
        except BaseException:
            self.close()
            raise
        self._queue: deque[tuple[Matchup, int]] = deque()
        self._playing: list[_Playing] = []
        self._idle: list[_Process] = []
        self._slots: list[_Process] = []
        self._hosts: list[_Process] = []
        self._victims: dict[tuple[Spec, int], Ref] = {}

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        self._queue.append((matchup, attempt))

    def finished(self, *, timeout: float) -> Iterator[MatchResult]:
        """Drive every match for up to ``timeout`` seconds or until one ends; yield those that ended."""
        end = time.monotonic() + timeout
        while True:
            self._begin_queued()
            ended = [*self._step(max(0.0, min(end, self._next_deadline()) - time.monotonic())), *self._overdue()]
            yield from ended
            if ended or not self._playing or time.monotonic() >= end:
                return

    def close(self) -> None:
        """End every actor that this runner started, and Ray itself if it was started here."""
        for actor in [*getattr(self, "_slots", []), *getattr(self, "_hosts", [])]:
            _kill(actor.actor)
        if self._started_here:
            leave()

    def _begin_queued(self) -> None:
        while self._queue and len(self._playing) < self.slots:
            matchup, attempt = self._queue.popleft()
            slot = self._idle.pop() if self._idle else self._new_slot()
            match = _Playing(matchup=matchup, attempt=attempt, slot=slot, host=self._next_host())
            self._playing.append(match)
            self._enter(match, "victim", self._victim_of(matchup, slot))

    def _enter(self, match: _Playing, stage: Stage, ref: Ref) -> None:
        limits = self._site.limits
        seconds = {
            "victim": limits.prepare + START_SECONDS,
            "prepare": limits.prepare,
            "deploy": limits.deploy + START_SECONDS,
            "play": limits.play + GRACE_SECONDS,
            "close": limits.close,
            "score": limits.score + START_SECONDS,
        }[stage]
        match.stage, match.ref, match.deadline = stage, ref, time.monotonic() + seconds

    def _next_deadline(self) -> float:
        return min((match.deadline for match in self._playing), default=float("inf"))

    def _step(self, timeout: float) -> list[MatchResult]:
        """Wait for the next event and advance the matches that it concerns."""
        if not self._playing:
            return []
        watched: dict[Ref, _Process] = {host.alive: host for host in self._hosts}
        refs = list(dict.fromkeys([*(match.ref for match in self._playing), *watched]))
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        ended: list[MatchResult] = []
        for ref in ready:
            if ref in watched:
                ended += self._lost(watched[ref])
        for match in [match for match in self._playing if match.ref in ready]:
            if match in self._playing:  # the one before it may have taken this one down with its host
                ended += self._advance(match)
        return ended

    def _advance(self, match: _Playing) -> list[MatchResult]:
        """Take the outcome of a match's stage into the next one; return the results of matches that ended with it."""
        try:
            outcome = ray.get(match.ref)
        except UsageError:
            raise
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, ArenaError) else error
            self._forget_victim(match)
            return [self._end(match, "infrastructure", "arena", f"{type(cause).__name__}: {cause}")]
        except (RayActorError, TaskCancelledError, GetTimeoutError) as error:
            return self._actor_died(match, error)
        slot, host = match.slot.actor, match.host.actor
        if isinstance(outcome, MatchResult):
            return [self._leave(match, outcome)]
        if match.stage == "victim":
            match.artefacts |= outcome
            self._enter(match, "prepare", slot.prepare.remote(match.matchup, match.slot.new(match.artefacts)))
        elif isinstance(outcome, PreparedReport):
            match.prepared = replace(outcome, artefacts={})
            match.artefacts |= outcome.artefacts
            if outcome.failure:
                return [self._end(match, "crashed", "defense", outcome.failure)]
            new = match.host.new(match.artefacts)
            self._enter(match, "deploy", host.open.remote(match.matchup, match.attempt, new))
        elif isinstance(outcome, Opened):
            match.opened = outcome
            if outcome.failure:
                return [self._end(match, "crashed", "defense", outcome.failure)]
            seconds = self._site.limits.play
            self._enter(match, "play", slot.play.remote(match.matchup, outcome.address, outcome.token, seconds))
        elif isinstance(outcome, AttackReport):
            match.report = outcome
            self._enter(match, "close", host.close.remote(match.opened.token))
        elif isinstance(outcome, Closed):
            self._keep_ledger(match, outcome)
            self._enter(match, "score", self._scoring(match, outcome))
        return []

    def _scoring(self, match: _Playing, closed: Closed) -> Ref:
        return match.slot.actor.score.remote(
            match.matchup,
            match.attempt,
            closed,
            match.report,
            match.prepared.flags,
            dict(match.prepared.measures),
            match.slot.new(match.artefacts),
        )

    def _victim_of(self, matchup: Matchup, slot: _Process) -> Ref:
        """Return what resolves to a victim's weights: of several matches that need it, one trains it."""
        name = (matchup.victim, matchup.victim_seed)
        if name not in self._victims:
            self._victims[name] = slot.actor.train_victim.remote(matchup)
        return self._victims[name]

    def _forget_victim(self, match: _Playing) -> None:
        """Let the next match train the victim again, if this training failed."""
        if match.stage == "victim":
            self._victims.pop((match.matchup.victim, match.matchup.victim_seed), None)

    def _overdue(self) -> list[MatchResult]:
        """End the stages whose time is over; what they were doing is killed."""
        ended = []
        for match in [match for match in self._playing if match.deadline <= time.monotonic()]:
            reason = f"the stage {match.stage!r} took longer than its limit"
            if match.stage == "play":
                self._stop_playing(match, Verdict(outcome="timed out", fault="attack", stage="play", reason=reason))
            elif match.stage in ("deploy", "close"):
                ended.append(self._end(match, "timed out", "defense", reason))
                ended += self._lost(match.host, kill=True)
            else:
                self._forget_victim(match)
                self._replace_slot(match.slot)
                fault: Fault = "defense" if match.stage == "prepare" else "arena"
                outcome: Outcome = "timed out" if fault == "defense" else "infrastructure"
                ended.append(self._end(match, outcome, fault, reason))
        return ended

    def _stop_playing(self, match: _Playing, verdict: Verdict) -> None:
        """Kill an attack's process; its match goes on to be scored on the answers that it got."""
        self._replace_slot(match.slot)
        match.slot = self._new_slot()
        match.report = AttackReport(verdict=verdict, timed=verdict.outcome == "timed out")
        self._enter(match, "close", match.host.actor.close.remote(match.opened.token))

    def _actor_died(self, match: _Playing, error: Exception) -> list[MatchResult]:
        """Say whose fault a dead process is: its node's, the host's, or the attack's that ran in it."""
        if match.stage in ("deploy", "close"):
            return self._lost(match.host, kill=True)
        self._forget_victim(match)
        node_died = self._node_is_gone(match.slot)
        self._replace_slot(match.slot)
        if match.stage == "play" and not node_died:
            reason = "the attack's process died"
            match.slot = self._new_slot()
            match.report = AttackReport(
                verdict=Verdict(
                    outcome="crashed", fault="attack", stage="play", reason=reason, output=str(error)[:2000]
                )
            )
            self._enter(match, "close", match.host.actor.close.remote(match.opened.token))
            return []
        return [self._end(match, "infrastructure", "arena", f"a process died: {str(error).splitlines()[0]}")]

    def _lost(self, host: _Process, *, kill: bool = False) -> list[MatchResult]:
        """A host is gone: so are the ledgers of the matches on it, and with them those attempts."""
        if host not in self._hosts:
            return []
        self._hosts.remove(host)
        if kill:
            _kill(host.actor)
        ended = []
        for match in [match for match in self._playing if match.host is host]:
            if match.stage in ("deploy", "play", "close"):
                if match.stage == "play":
                    self._replace_slot(match.slot)  # it is busy with an oracle that will not answer again
                ended.append(self._end(match, "infrastructure", "arena", "the oracle's process or node died"))
            elif match.stage in ("victim", "prepare"):
                match.host = self._next_host()
        return ended

    def _end(self, match: _Playing, outcome: Outcome, fault: Fault, reason: str) -> MatchResult:
        """Return the result of a match that ends here without being scored."""
        verdict = Verdict(outcome=outcome, fault=fault, stage=match.stage, reason=reason)
        return self._leave(
            match,
            MatchResult(
                matchup=match.matchup,
                attempt=match.attempt,
                verdict=verdict,
                isolation="process",
                flags=match.prepared.flags,
                measures=dict(match.prepared.measures),
            ),
        )

    def _leave(self, match: _Playing, result: MatchResult) -> MatchResult:
        self._playing.remove(match)
        if match.slot in self._slots:
            self._idle.append(match.slot)
        return result

    def _keep_ledger(self, match: _Playing, closed: Closed) -> None:
        path = ledger_path(self._site, match.matchup, match.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(closed.ledger)

    def _new_slot(self) -> _Process:
        share = self._resources.attack
        actor = _actor(AttackSlot, share).remote(self._site_of(share))
        slot = _Process(actor=actor, where=actor.where.remote())
        self._slots.append(slot)
        return slot

    def _replace_slot(self, slot: _Process) -> None:
        """Kill a slot's process; the next match that needs one starts another."""
        _kill(slot.actor)
        self._slots = [other for other in self._slots if other is not slot]

    def _next_host(self) -> _Process:
        """Return the host with the fewest matches, starting one while there are fewer than asked for."""
        if len(self._hosts) < self._resources.oracles:
            share = self._resources.oracle
            address = "127.0.0.1" if self._started_here else None  # else its node's own: others must reach it
            actor = _actor(OracleHost, share).remote(self._site_of(share), address)
            host = _Process(actor=actor, where=actor.where.remote(), alive=actor.until_death.remote())
            self._hosts.append(host)
            return host
        return min(self._hosts, key=lambda host: sum(match.host is host for match in self._playing))

    def _site_of(self, share: Share) -> Site:
        return replace(self._site, device="cuda" if share.gpus > 0 else self._site.device)

    def _node_is_gone(self, process: _Process) -> bool:
        """Whether a dead actor's node died with it, giving the cluster time to find out."""
        if len(ray.nodes()) == 1:
            return False
        try:
            node = ray.get(process.where, timeout=0)
        except (RayActorError, GetTimeoutError):
            return True  # it died before it said where it was: nothing of the attack had run in it
        end = time.monotonic() + NODE_LOSS_SECONDS
        while time.monotonic() < end:
            if not any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes()):
                return True
            time.sleep(0.5)
        return False


def _actor(kind: type, share: Share) -> Any:
    named = demand(share)
    return ray.remote(kind).options(
        num_cpus=named.pop("CPU", 0),
        num_gpus=named.pop("GPU", 0),
        resources=named or None,
        max_restarts=0,
        max_task_retries=0,
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
    )


def _kill(actor: Actor) -> None:
    ray.kill(actor, no_restart=True)
