"""The runner on Ray: matches go through their stages on actors, each stage with a time limit that ends the work.

It never retries. Actors have no restarts: a dead oracle host ends the attempt, and the referee plays the next one.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from arena.cluster.players import Artefacts, AttackSlot, Closed, DefenseFailed, Opened, OracleHost, Prepared
from arena.cluster.resources import demand, slots_for
from arena.cluster.session import join
from arena.contracts import Fault, MatchResult, Matchup, Outcome, ServiceUnreachable, Spec, UsageError, Verdict
from arena.match.attacking import OUTPUT_KEPT, AttackReport
from arena.match.deployment import ledger_path
from arena.match.scoring import Scored
from arena.match.site import Site
from arena.referee.referee import MOST_REPLAYS
from arena.referee.tournament import Resources, Share

Stage: TypeAlias = Literal["start", "victim", "prepare", "deploy", "play", "lost", "close", "score"]
Ref: TypeAlias = Any  # ray.ObjectRef: its generic parameter is not part of Ray's public types
Actor: TypeAlias = Any  # ray.actor.ActorHandle, whose methods exist only at run time
Victim: TypeAlias = tuple[Spec, int]  # with the seed of its training

GRACE_SECONDS = 10.0  # a process that watches its clock answers by itself; one that does not is killed after this
START_SECONDS = 300.0  # for an actor's process: it imports torch, and may wait for its place in a cluster
LOST_SECONDS = 120.0  # for a cluster to find out whether a process that cannot be reached is dead
STOP_SECONDS = 3.0  # that hosts are given to remove their files


@dataclass(eq=False)
class _Process:
    """An actor; of a host, ``ready`` resolves once it runs, and ``alive`` to an error when it dies."""

    actor: Actor
    ready: Ref = None
    alive: Ref = None
    node: str = ""  # of a slot, once it has said so
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
    stage: Stage = "start"
    ref: Ref = None
    deadline: float = 0.0
    prepared: Prepared = field(default_factory=lambda: Prepared(artefacts={}))
    opened: Opened | None = None
    report: AttackReport = field(default_factory=lambda: AttackReport(verdict=Verdict(outcome="completed")))

    @property
    def victim(self) -> Victim:
        return self.matchup.victim, self.matchup.victim_seed

    @property
    def alone(self) -> bool:
        """Whether it has its host to itself: in the last attempt, so that no other defense can take it down again."""
        return self.attempt > MOST_REPLAYS


class RayRunner:
    """Plays matches over gRPC between actors: attack slots on one side, oracle hosts on the other."""

    slot_class: type[AttackSlot] = AttackSlot
    host_class: type[OracleHost] = OracleHost

    def __init__(self, site: Site, *, resources: Resources | None = None, address: str | None = None) -> None:
        """Join the cluster at ``address``, or start one here. Ledgers of finished matches go to ``site.work``.

        Raises `ServiceUnreachable` if the cluster does not answer, `BadParameter` if it cannot place the shares.
        """
        self._resources = resources or Resources()
        self._site = site
        self._waiting: deque[tuple[Matchup, int]] = deque()
        self._playing: list[_Playing] = []
        self._ended: deque[MatchResult] = deque()
        self._idle: list[_Process] = []
        self._slots: list[_Process] = []
        self._hosts: list[_Process] = []
        self._retired: list[_Process] = []  # hosts that a stuck defense is in; they end with their last match
        self._made: dict[Victim, dict[str, bytes]] = {}  # what was trained for a victim, by key in the cache
        self._cluster = join(address)
        try:
            self.slots = slots_for(self._resources, [node["Resources"] for node in ray.nodes() if node["Alive"]])
            while len(self._hosts) < self._resources.oracles:
                self._new_host()
            self._idle = [self._new_slot() for _ in range(self.slots)]
        except BaseException:
            self.close()
            raise

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        self._waiting.append((matchup, attempt))

    def finished(self, *, timeout: float) -> Iterator[MatchResult]:
        """Drive every match for up to ``timeout`` seconds or until one ends; yield those that ended.

        Raises `UsageError` for a matchup that cannot be played on the cluster's nodes, `ServiceUnreachable` if no
        process of ours can be started there.
        """
        end = time.monotonic() + timeout
        while not self._ended:
            self._begin_waiting()
            if not self._playing:
                return
            next_deadline = min(match.deadline for match in self._playing)
            self._step(max(0.0, min(end, next_deadline) - time.monotonic()))
            self._end_overdue()
            if time.monotonic() >= end:
                break
        while self._ended:
            yield self._ended.popleft()

    def close(self) -> None:
        """End every process that this runner started, and Ray itself if it was started here."""
        hosts = [*self._hosts, *self._retired]
        try:
            with contextlib.suppress(RayError):
                stopping = [host.actor.stop.remote() for host in hosts]
                if stopping:
                    ray.wait(stopping, num_returns=len(stopping), timeout=STOP_SECONDS)
            for process in [*self._slots, *hosts]:
                _kill(process)
        finally:
            self._cluster.leave()

    def _begin_waiting(self) -> None:
        """Start what there are slots for; a match whose victim is being trained for another one waits for it."""
        for matchup, attempt in list(self._waiting):
            victim = (matchup.victim, matchup.victim_seed)
            if victim not in self._made and any(match.victim == victim for match in self._playing):
                continue
            host = self._host_for(attempt) if len(self._playing) < self.slots else None
            if host is None:
                return
            self._waiting.remove((matchup, attempt))
            slot = self._idle.pop() if self._idle else self._new_slot()
            match = _Playing(matchup=matchup, attempt=attempt, slot=slot, host=host)
            self._playing.append(match)
            self._enter(match, "start", slot.actor.node.remote())

    def _host_for(self, attempt: int) -> _Process | None:
        """Return the host with the fewest matches, a new one if one is missing; None while none may be shared."""
        if len(self._hosts) < self._resources.oracles:
            return self._new_host()
        crowds = {host: [match for match in self._playing if match.host is host] for host in self._hosts}
        may_share = attempt <= MOST_REPLAYS
        fitting = [
            host
            for host, matches in crowds.items()
            if not matches or (may_share and not any(match.alone for match in matches))
        ]
        return min(fitting, key=lambda host: len(crowds[host]), default=None)

    def _enter(self, match: _Playing, stage: Stage, ref: Ref) -> None:
        limits = self._site.limits
        seconds = {
            "start": START_SECONDS,
            "victim": limits.prepare,
            "prepare": limits.prepare,
            "deploy": limits.deploy + START_SECONDS,
            "play": limits.play + GRACE_SECONDS,
            "lost": LOST_SECONDS,
            "close": limits.close + GRACE_SECONDS,
            "score": limits.score + START_SECONDS,
        }[stage]
        match.stage, match.ref, match.deadline = stage, ref, time.monotonic() + seconds

    def _step(self, timeout: float) -> None:
        """Wait for the next event and advance the matches that it concerns."""
        hosts = {host.alive: host for host in [*self._hosts, *self._retired]}
        refs = [*hosts, *(match.ref for match in self._playing)]
        ready, _ = ray.wait(refs, timeout=timeout)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in hosts:
                self._host_died(hosts[ref], error=_death(ref))
        for match in list(self._playing):
            if match in self._playing and match.ref in ready:
                self._advance(match)

    def _advance(self, match: _Playing) -> None:
        """Take the outcome of a match's stage into the next one."""
        try:
            outcome = ray.get(match.ref)
        except UsageError:
            raise
        except RayActorError as error:
            self._process_died(match, error)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            reason = f"{type(cause).__name__}: {cause}"
            if match.stage == "play":  # our own faults come back as a report; this went past every `except Exception`
                self._stop_playing(match, "crashed", reason)
            else:
                self._end(match, "infrastructure", "arena", reason)
        else:
            self._next_stage(match, outcome)

    def _next_stage(self, match: _Playing, outcome: object) -> None:
        """Go on with what the last stage returned; the methods that do are those of `arena.cluster.players`."""
        slot, matchup = match.slot, match.matchup
        if isinstance(outcome, DefenseFailed):
            self._defense_failed(match, outcome)
        elif match.stage == "start":
            slot.node = str(outcome)
            if match.victim in self._made:
                self._prepare(match)
            else:
                self._enter(match, "victim", slot.actor.train_victim.remote(matchup))
        elif match.stage == "victim":
            self._keep(match, cast(Artefacts, outcome))
            self._prepare(match)
        elif isinstance(outcome, Prepared):
            self._keep(match, outcome.artefacts)
            match.prepared = replace(outcome, artefacts={})
            self._enter(match, "deploy", self._opening(match))
        elif isinstance(outcome, Opened):
            match.opened = outcome
            self._enter(match, "play", slot.actor.play.remote(matchup, outcome.address, outcome.token))
        elif isinstance(outcome, AttackReport):
            self._close_oracle(match, outcome)
        elif isinstance(outcome, Closed):
            self._keep_ledger(match, outcome)
            artefacts = slot.new(self._made[match.victim])
            score = slot.actor.score.remote
            self._enter(match, "score", score(matchup, match.attempt, outcome, match.report, match.prepared, artefacts))
        elif isinstance(outcome, Scored):
            self._leave(match, outcome.kept(self._site.pictures))
        else:
            assert match.stage == "lost", f"{match.stage} returned {outcome!r}"
            self._replace_slot(slot)
            self._end(match, "infrastructure", "arena", "the attack's process could not be reached")

    def _prepare(self, match: _Playing) -> None:
        made = self._made[match.victim]
        prepare = match.slot.actor.prepare.remote
        self._enter(match, "prepare", prepare(match.matchup, match.slot.new(made), tuple(made)))

    def _opening(self, match: _Playing) -> Ref:
        artefacts = match.host.new(self._made[match.victim])
        return match.host.actor.open.remote(match.matchup, match.attempt, artefacts)

    def _keep(self, match: _Playing, artefacts: Artefacts) -> None:
        """Hold what a slot has trained, for the processes that have not got it."""
        self._made.setdefault(match.victim, {}).update(artefacts)
        match.slot.has |= set(artefacts)

    def _close_oracle(self, match: _Playing, report: AttackReport) -> None:
        assert match.opened is not None, "only an open oracle is played against"
        match.report = report
        self._enter(match, "close", match.host.actor.close.remote(match.opened.token))

    def _stop_playing(self, match: _Playing, outcome: Outcome, reason: str, *, output: str = "") -> None:
        """End an attack's process; its match goes on to be scored on the answers that it got."""
        self._replace_slot(match.slot)
        match.slot = self._new_slot()
        verdict = Verdict(outcome=outcome, fault="attack", stage="play", reason=reason, output=output)
        self._close_oracle(match, AttackReport(verdict=verdict, timed=outcome == "timed out"))

    def _defense_failed(self, match: _Playing, failure: DefenseFailed) -> None:
        if failure.stuck and match.host in self._hosts:
            self._hosts.remove(match.host)
            self._retired.append(match.host)
        self._end(match, "timed out" if failure.stuck else "crashed", "defense", failure.reason)

    def _end_overdue(self) -> None:
        """End the stages whose time is over; the processes that they are in are killed."""
        for match in list(self._playing):
            if match in self._playing and match.deadline <= time.monotonic():
                self._overdue(match)

    def _overdue(self, match: _Playing) -> None:
        reason = f"the stage {match.stage!r} took longer than its limit"
        if match.stage == "play":
            self._stop_playing(match, "timed out", reason)
        elif match.stage in ("deploy", "close"):  # a defense that is merely stuck is told by its host
            self._host_died(match.host, hung=True)
        else:
            self._replace_slot(match.slot)
            prepared = match.stage == "prepare"
            self._end(match, "timed out" if prepared else "infrastructure", "defense" if prepared else "arena", reason)

    def _process_died(self, match: _Playing, error: RayActorError) -> None:
        """Say whose fault a dead process is: its node's, or the attack's that ran in it."""
        if match.stage in ("deploy", "close"):
            self._host_died(match.host, error=error)
        elif match.stage == "play" and isinstance(error, ActorUnavailableError):
            self._enter(match, "lost", match.slot.actor.node.remote())  # waits until the cluster knows
        elif match.stage in ("play", "lost") and _lives(match.slot.node):
            self._stop_playing(match, "crashed", "the attack's process died", output=str(error)[:OUTPUT_KEPT])
        elif match.stage == "start" and match.slot.node:  # it died while it was idle
            self._replace_slot(match.slot)
            match.slot = self._new_slot()
            self._enter(match, "start", match.slot.actor.node.remote())
        else:
            _check_started(error)
            self._replace_slot(match.slot)
            self._end(match, "infrastructure", "arena", f"a process or its node died: {str(error).splitlines()[0]}")

    def _host_died(self, host: _Process, *, error: RayActorError | None = None, hung: bool = False) -> None:
        """End the attempts whose ledgers are lost with a host; the other matches on it get another one.

        A host that hangs with a single match in it hangs through that match's defense.
        """
        self._hosts = [other for other in self._hosts if other is not host]
        self._retired = [other for other in self._retired if other is not host]
        _kill(host)  # what cannot be reached may still run
        if error is not None:
            _check_started(error)
        matches = [match for match in self._playing if match.host is host]
        started = _has_started(host)
        for match in matches:
            if match.stage in ("start", "victim", "prepare") or (match.stage == "deploy" and not (started or hung)):
                other = self._host_for(match.attempt)
                assert other is not None, "a dead host leaves room for a new one"
                match.host = other
                if match.stage == "deploy":  # its deadline stays: a cluster may have no place for any host
                    match.ref = self._opening(match)
            elif match.stage != "score":
                if match.stage in ("play", "lost"):
                    self._replace_slot(match.slot)  # it asks an oracle that will not answer again
                if hung and len(matches) == 1 and started:
                    self._end(match, "timed out", "defense", f"the oracle's process hung in the stage {match.stage!r}")
                else:
                    self._end(match, "infrastructure", "arena", "the oracle's process or node died")

    def _end(self, match: _Playing, outcome: Outcome, fault: Fault, reason: str) -> None:
        """Let a match end here, without being scored."""
        if match.stage in ("play", "lost") and match.opened is not None and match.host in self._hosts:
            match.host.actor.close.remote(match.opened.token)  # nobody waits for it
        result = MatchResult(
            matchup=match.matchup,
            attempt=match.attempt,
            verdict=Verdict(outcome=outcome, fault=fault, stage=match.stage, reason=reason),
            isolation="process",
            flags=match.prepared.flags,
            measures=dict(match.prepared.measures),
        )
        self._leave(match, result)

    def _leave(self, match: _Playing, result: MatchResult) -> None:
        self._playing.remove(match)
        self._ended.append(result)
        if match.slot in self._slots:
            self._idle.append(match.slot)
        if match.host in self._retired and all(other.host is not match.host for other in self._playing):
            self._retired.remove(match.host)
            _kill(match.host)

    def _keep_ledger(self, match: _Playing, closed: Closed) -> None:
        path = ledger_path(self._site, match.matchup, match.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(closed.ledger)

    def _new_slot(self) -> _Process:
        share = self._resources.attack
        actor = _actor(self.slot_class, share).remote(self._site_of(share))
        self._slots.append(_Process(actor=actor))
        return self._slots[-1]

    def _replace_slot(self, slot: _Process) -> None:
        """Kill a slot's process; the next match that needs one starts another."""
        self._slots.remove(slot)
        _kill(slot)

    def _new_host(self) -> _Process:
        share = self._resources.oracle
        address = "127.0.0.1" if self._cluster.started_here else None  # else its node's own: others must reach it
        actor = _actor(self.host_class, share).remote(self._site_of(share), address)
        self._hosts.append(_Process(actor=actor, alive=actor.until_death.remote(), ready=actor.node.remote()))
        return self._hosts[-1]

    def _site_of(self, share: Share) -> Site:
        return replace(self._site, device="cuda" if share.gpus > 0 else self._site.device)


def _actor(kind: type, share: Share) -> Any:
    named = demand(share)
    return ray.remote(kind).options(
        num_cpus=named.pop("CPU", 0),
        num_gpus=named.pop("GPU", 0),
        resources=named or None,
        max_restarts=0,
        max_task_retries=0,
    )


def _kill(process: _Process) -> None:
    with contextlib.suppress(RayError):  # the cluster itself is gone, and the process with it
        ray.kill(process.actor, no_restart=True)


def _death(alive: Ref) -> RayActorError | None:
    try:
        ray.get(alive)
    except RayActorError as error:
        return error
    return None


def _has_started(host: _Process) -> bool:
    try:
        return bool(ray.get(host.ready, timeout=0))
    except RayError:  # also that of time
        return False


def _lives(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def _check_started(error: RayActorError) -> None:
    """Raise `ServiceUnreachable` if a process could not even begin: no other one would."""
    if error.actor_init_failed:
        message = f"the cluster's nodes cannot run arena; is this version of it installed on all of them? {error}"
        raise ServiceUnreachable(message) from error
