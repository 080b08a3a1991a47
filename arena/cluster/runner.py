"""Plays matches on Ray: their stages run on actors, and a stage that exceeds its time limit is ended.

The runner never retries, and actors are not restarted: a dead oracle host ends the attempt, and the referee submits the
next one.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from arena.cluster.attempt import Attempt, TrainedStore
from arena.cluster.clone_store import CloneStore
from arena.cluster.looking import HostReadings, Places, outlook_of
from arena.cluster.membership import join
from arena.cluster.players import AttackSlot, DefenseStuck, OracleHost
from arena.cluster.processes import Process, actor_class, check_started, death, node_lives
from arena.cluster.resources import site_of, slots_for
from arena.contracts import Fault, MatchResult, Matchup, Outcome, UsageError, Verdict
from arena.match.attacking import OUTPUT_KEPT, AttackReport
from arena.match.site import Site
from arena.match.stages import Match, StageFailed, StageOutcome, VictimReady
from arena.referee.outlook import Outlook
from arena.referee.settlement import REPLAYS, is_last
from arena.referee.tournament import Resources, Share
from arena.registry import isolation_of
from arena.rpc.certificates import RunTls

STOP_SECONDS = 3.0  # how long hosts may take to remove their files


class RayRunner:
    """Plays matches between two kinds of actors, attack slots and oracle hosts, which talk over gRPC."""

    slot_class: type[AttackSlot] = AttackSlot
    host_class: type[OracleHost] = OracleHost

    def __init__(
        self,
        site: Site,
        *,
        resources: Resources | None = None,
        address: str | None = None,
        replays: int = REPLAYS,
        encrypted: bool = True,
    ) -> None:
        """Join the cluster at ``address``, or start one on this machine; ledgers are written to ``site.work``.

        After so many ``replays``, a match has a host to itself, so that no other defense can end it again. Matches are
        ``encrypted`` by TLS, unless the cluster was started here: it is then reached over the loopback interface alone.

        Raises `ServiceUnreachable` if the cluster does not answer, and `BadParameter` if it has no room for the shares.
        """
        self._resources = resources or Resources()
        self._site = site
        self._replays = replays
        self._waiting: deque[tuple[Matchup, int]] = deque()
        self._playing: list[Attempt] = []
        self._ended: deque[MatchResult] = deque()
        self._idle, self._slots = list[Process](), list[Process]()
        self._hosts: list[Process] = []
        self._retired: list[Process] = []  # hosts in which a defense hangs; each ends with its last match
        self._store = TrainedStore()
        self._clones: Process | None = None
        self._readings, self._places = HostReadings(), Places()
        self._cluster = join(address)
        self._tls = RunTls.make() if encrypted and not self._cluster.started_here else None
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.slots = slots_for(self._resources, nodes)
            if len(nodes) > 1:  # on a single node, all slots share a cache
                self._clones = Process(actor=actor_class(CloneStore, Share(cpus=0.0)).remote())
            while len(self._hosts) < self._resources.oracles:
                self._new_host()
            self._idle = [self._new_slot() for _ in range(self.slots)]
        except BaseException:
            self.close()
            raise

    @property
    def outlook(self) -> Outlook:
        """What the matches that were submitted are doing, and where the actors run."""
        return outlook_of(
            stages=[attempt.where for attempt in list(self._playing)],  # copies, because another thread may look
            untrained=[self._is_trained_elsewhere(matchup) for matchup, _ in list(self._waiting)],
            nodes=self._places.of(slots=self._slots, hosts=[*self._hosts, *self._retired]),
            reading=self._readings.total,
        )

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        self._waiting.append((matchup, attempt))

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        """Advance all matches until one ends, for at most ``timeout`` seconds, and yield the results that are in.

        Raises `UsageError` for a matchup that cannot be played on the cluster's nodes, and `ServiceUnreachable` if no
        process can be started there.
        """
        end = time.monotonic() + timeout
        self._readings.refresh(self._hosts)
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
        """End every process that this runner started, and Ray too if this runner started it."""
        hosts = [*self._hosts, *self._retired]
        try:
            with contextlib.suppress(RayError):
                stopping = [host.actor.stop.remote() for host in hosts]
                if stopping:
                    ray.wait(stopping, num_returns=len(stopping), timeout=STOP_SECONDS)
            for process in [*self._slots, *hosts, *([self._clones] if self._clones else [])]:
                process.kill()
        finally:
            self._cluster.leave()

    def _begin_waiting(self) -> None:
        """Start as many matches as there are slots; a match waits while another one trains its victim."""
        for matchup, number in list(self._waiting):
            if self._is_trained_elsewhere(matchup):
                continue
            host = self._host_for(number) if len(self._playing) < self.slots else None
            if host is None:
                return
            self._waiting.remove((matchup, number))
            slot = self._idle.pop() if self._idle else self._new_slot()
            isolation = isolation_of(matchup.attack, matchup.defense, otherwise="process")
            match = Match(matchup, attempt=number, isolation=isolation)
            alone = is_last(number, self._replays)
            attempt = Attempt(match=match, slot=slot, host=host, store=self._store, alone=alone)
            self._playing.append(attempt)
            attempt.wait(slot.actor.node.remote(), self._site.limits)

    def _is_trained_elsewhere(self, matchup: Matchup) -> bool:
        """Return whether another match is training the victim of this one."""
        victim = (matchup.victim, matchup.victim_seed)
        return victim not in self._store and any(attempt.victim_with_seed == victim for attempt in self._playing)

    def _host_for(self, number: int) -> Process | None:
        """Return the host with the fewest matches, a new one if there are too few, or None if none may be shared."""
        if len(self._hosts) < self._resources.oracles:
            return self._new_host()
        crowds = {host: [attempt for attempt in self._playing if attempt.host is host] for host in self._hosts}
        may_share = not is_last(number, self._replays)
        fitting = [
            host
            for host, attempts in crowds.items()
            if not attempts or (may_share and not any(attempt.alone for attempt in attempts))
        ]
        return min(fitting, key=lambda host: len(crowds[host]), default=None)

    def _step(self, timeout: float) -> None:
        """Wait for the next events, and advance the matches that they concern."""
        hosts = {host.alive: host for host in [*self._hosts, *self._retired]}
        refs = [*hosts, *(attempt.ref for attempt in self._playing)]
        ready, _ = ray.wait(refs, timeout=timeout)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in hosts:
                self._host_died(hosts[ref], error=death(ref))
        for attempt in list(self._playing):
            if attempt in self._playing and attempt.ref in ready:
                self._read(attempt)

    def _read(self, attempt: Attempt) -> None:
        """Continue with what an attempt waited for; if that failed, decide whose fault it was and act accordingly."""
        try:
            returned = ray.get(attempt.ref)
            outcome = returned if isinstance(returned, str) else attempt.receive(returned, self._site)
        except UsageError:
            raise
        except RayActorError as error:
            self._process_died(attempt, error)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            reason = f"{type(cause).__name__}: {cause}"
            if attempt.where == "play":  # infrastructure faults come back as a report: the attack raised this
                self._stop_playing(attempt, "crashed", reason)
            else:
                self._end(attempt, "infrastructure", "arena", reason)
        else:
            self._go_on(attempt, outcome)

    def _go_on(self, attempt: Attempt, outcome: str | StageOutcome) -> None:
        if attempt.awaits == "lost":
            self._replace_slot(attempt.slot)
            self._end(attempt, "infrastructure", "arena", "the attack's process could not be reached")
        elif isinstance(outcome, str):  # the node of a slot that has started
            attempt.slot.node, attempt.awaits = outcome, "stage"
            if attempt.victim_with_seed in self._store:
                attempt.match.take(VictimReady())
            self._begin(attempt)
        else:
            self._take(attempt, outcome)

    def _take(self, attempt: Attempt, outcome: StageOutcome) -> None:
        """Record the outcome of an attempt's stage, and start the next stage unless the match has ended."""
        if isinstance(outcome, DefenseStuck) and attempt.host in self._hosts:
            self._hosts.remove(attempt.host)
            self._retired.append(attempt.host)
        attempt.match.take(outcome)
        if attempt.match.ending is None:
            self._begin(attempt)
        else:
            self._leave(attempt)

    def _begin(self, attempt: Attempt) -> None:
        attempt.wait(attempt.match.begin(attempt), self._site.limits)

    def _stop_playing(self, attempt: Attempt, outcome: Outcome, reason: str, *, output: str = "") -> None:
        """End an attack's process; its match is then scored on the answers that the attack got."""
        self._replace_slot(attempt.slot)
        attempt.slot, attempt.awaits = self._new_slot(), "stage"
        verdict = Verdict(outcome=outcome, fault="attack", stage="play", reason=reason, output=output)
        self._take(attempt, AttackReport(verdict=verdict, timed=outcome == "timed out"))

    def _score_without_clone(self, attempt: Attempt, outcome: Outcome, reason: str) -> None:
        """End the process that scores an attack's clone, and have the match scored without the clone in another."""
        self._replace_slot(attempt.slot)
        attempt.slot = self._new_slot()
        attempt.match.blame_clone(outcome, reason)
        self._begin(attempt)

    def _end_overdue(self) -> None:
        """End the stages that exceed their time limit, by killing the processes in which they run."""
        for attempt in list(self._playing):
            if attempt in self._playing and attempt.deadline <= time.monotonic():
                self._overdue(attempt)

    def _overdue(self, attempt: Attempt) -> None:
        reason = f"the stage {attempt.where!r} took longer than its limit"
        if attempt.where == "play":
            self._stop_playing(attempt, "timed out", reason)
        elif attempt.where in ("deploy", "close"):  # the host itself hangs; it would report a defense that hangs
            self._host_died(attempt.host, hung=True)
        elif attempt.where == "prepare":
            self._replace_slot(attempt.slot)
            self._end(attempt, "timed out", "defense", reason)
        elif attempt.match.may_blame_clone:
            self._score_without_clone(attempt, "timed out", reason)
        else:
            self._replace_slot(attempt.slot)
            self._end(attempt, "infrastructure", "arena", reason)

    def _process_died(self, attempt: Attempt, error: RayActorError) -> None:
        """Decide whose fault a dead process is, that of its node or that of the attack in it, and act accordingly."""
        where = attempt.where
        if where in ("deploy", "close"):
            self._host_died(attempt.host, error=error)
        elif where == "play" and isinstance(error, ActorUnavailableError):
            attempt.awaits = "lost"
            attempt.wait(attempt.slot.actor.node.remote(), self._site.limits)  # until the cluster knows if it is dead
        elif where in ("play", "lost") and node_lives(attempt.slot.node):
            self._stop_playing(attempt, "crashed", "the attack's process died", output=str(error)[:OUTPUT_KEPT])
        elif where == "start" and attempt.slot.node:  # the slot died while it was idle
            self._replace_slot(attempt.slot)
            attempt.slot = self._new_slot()
            attempt.wait(attempt.slot.actor.node.remote(), self._site.limits)
        elif attempt.match.may_blame_clone and node_lives(attempt.slot.node):
            self._score_without_clone(attempt, "crashed", "the process that scored the attack's clone died")
        else:
            check_started(error)
            self._replace_slot(attempt.slot)
            self._end(attempt, "infrastructure", "arena", f"a process or its node died: {str(error).splitlines()[0]}")

    def _host_died(self, host: Process, *, error: RayActorError | None = None, hung: bool = False) -> None:
        """End the attempts whose ledgers are lost with a host, and move its other matches to another host.

        If a host hangs with a single match on it, that match's defense is to blame.
        """
        self._hosts = [other for other in self._hosts if other is not host]
        self._retired = [other for other in self._retired if other is not host]
        host.kill()  # a process that cannot be reached may still run
        if error is not None:
            check_started(error)
        attempts = [attempt for attempt in self._playing if attempt.host is host]
        started = host.has_started
        for attempt in attempts:
            where = attempt.where
            if where in ("start", "victim", "prepare") or (where == "deploy" and not (started or hung)):
                self._move_to_another_host(attempt)
            elif where != "score":
                if where in ("play", "lost"):
                    self._replace_slot(attempt.slot)  # it waits for an oracle that will not answer again
                if hung and len(attempts) == 1 and started:
                    self._end(attempt, "timed out", "defense", f"the oracle's process hung in the stage {where!r}")
                else:
                    self._end(attempt, "infrastructure", "arena", "the oracle's process or node died")

    def _move_to_another_host(self, attempt: Attempt) -> None:
        other = self._host_for(attempt.number)
        assert other is not None, "a new host can take the place of a dead one"
        attempt.host = other
        if attempt.where == "deploy":  # the deadline stays, because the cluster may have no room for any host
            attempt.ref = attempt.deploy()

    def _end(self, attempt: Attempt, outcome: Outcome, fault: Fault, reason: str) -> None:
        """End a match without scoring it."""
        where = attempt.where
        if where in ("play", "lost") and attempt.host in self._hosts:
            attempt.abandon()
        attempt.match.fail(StageFailed(outcome=outcome, fault=fault, reason=reason), stage=where)
        self._leave(attempt)

    def _leave(self, attempt: Attempt) -> None:
        ending = attempt.match.ending
        assert ending is not None, "the match has ended"
        ending.save_pictures(self._site.pictures)
        self._playing.remove(attempt)
        self._ended.append(ending.result)
        if attempt.slot in self._slots:
            self._idle.append(attempt.slot)
        if attempt.host in self._retired and all(other.host is not attempt.host for other in self._playing):
            self._retired.remove(attempt.host)
            attempt.host.kill()

    def _new_slot(self) -> Process:
        share = self._resources.attack
        store, tls = self._clones.actor if self._clones else None, self._tls.client if self._tls else None
        actor = actor_class(self.slot_class, share).remote(site_of(share, self._site), store, tls)
        self._slots.append(Process(actor=actor))
        return self._slots[-1]

    def _replace_slot(self, slot: Process) -> None:
        """Kill a slot's process; the next match that needs a slot starts another."""
        self._slots.remove(slot)
        slot.kill()

    def _new_host(self) -> Process:
        share = self._resources.oracle
        address = "127.0.0.1" if self._cluster.started_here else None  # None: the node's own, for other nodes to reach
        tls = self._tls.server if self._tls else None
        actor = actor_class(self.host_class, share).remote(site_of(share, self._site), address, tls)
        self._hosts.append(Process(actor=actor, alive=actor.until_death.remote(), ready=actor.node.remote()))
        return self._hosts[-1]
