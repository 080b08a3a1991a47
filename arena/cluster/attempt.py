"""One attempt at a match on a cluster: the processes in which its stages run, and the data sent between them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from arena.cluster.ledger_files import bring, for_node
from arena.cluster.players import Artefacts, Closed, Opened, Trained
from arena.cluster.processes import Process, Ref
from arena.contracts import Matchup, Spec
from arena.match.deployment import ledger_path
from arena.match.scoring import PlayedMatch
from arena.match.site import Limits, Site
from arena.match.stages import Deployed, Match, Stage, StageOutcome
from arena.registry import SANDBOX

Victim: TypeAlias = tuple[Spec, int]  # with the seed of its training

GRACE_SECONDS = 10.0  # after the time limit, before a process that does not answer by itself is killed
START_SECONDS = 300.0  # for an actor's process to start: it imports torch, and may wait for room in the cluster
LOST_SECONDS = 120.0  # for the cluster to find out whether a process that cannot be reached is dead


@dataclass(eq=False)
class TrainedStore:
    """The trained artefacts of each victim by cache key, to be sent to processes that lack them."""

    made: dict[Victim, dict[str, bytes]] = field(default_factory=dict)

    def __contains__(self, victim: Victim) -> bool:
        return victim in self.made

    def of(self, victim: Victim) -> dict[str, bytes]:
        return self.made[victim]

    def keep(self, victim: Victim, artefacts: Artefacts) -> None:
        self.made.setdefault(victim, {}).update(artefacts)


@dataclass(eq=False)
class Attempt:
    """The state of an attempt. Its stages run in ``slot`` and ``host``, and each returns a reference to wait for.

    Before the first stage, it waits for its slot's process to start. A slot that cannot be reached during play is
    ``lost`` until the cluster knows whether it is dead.
    """

    match: Match
    slot: Process
    host: Process
    store: TrainedStore
    alone: bool = False  # whether it has a host to itself
    awaits: Literal["slot", "stage", "lost"] = "slot"
    ref: Ref = None
    deadline: float = 0.0
    opened: Opened | None = None
    ledger: Path | None = None  # on this node, once the match is closed

    @property
    def matchup(self) -> Matchup:
        return self.match.matchup

    @property
    def number(self) -> int:
        return self.match.attempt

    @property
    def victim_with_seed(self) -> Victim:
        return self.matchup.victim, self.matchup.victim_seed

    @property
    def where(self) -> Stage | Literal["start", "lost"]:
        """The current stage, as verdicts name it."""
        return "start" if self.awaits == "slot" else "lost" if self.awaits == "lost" else self.match.stage

    def wait(self, ref: Ref, limits: Limits) -> None:
        """Wait for ``ref``, at most for the time limit of the current stage."""
        seconds = {
            "start": START_SECONDS,
            "victim": limits.prepare,
            "prepare": limits.prepare,
            "deploy": limits.deploy + START_SECONDS,
            "play": limits.play + GRACE_SECONDS,
            "lost": LOST_SECONDS,
            "close": limits.close + GRACE_SECONDS,
            "score": limits.score
            + (limits.play if self.match.isolation == SANDBOX else 0.0)  # the control of an entry plays there
            + (GRACE_SECONDS if self.slot.node else START_SECONDS),  # a new slot must start first
        }[self.where]
        self.ref, self.deadline = ref, time.monotonic() + seconds

    def victim(self) -> Ref:
        return self.slot.actor.train_victim.remote(self.matchup)

    def prepare(self) -> Ref:
        made = self.store.of(self.victim_with_seed)
        return self.slot.actor.prepare.remote(self.matchup, self.slot.new(made), tuple(made))

    def deploy(self) -> Ref:
        artefacts = self.host.new(self.store.of(self.victim_with_seed))
        return self.host.actor.open.remote(self.matchup, self.number, artefacts)

    def play(self) -> Ref:
        assert self.opened is not None, "the oracle is opened before the attack plays"
        return self.slot.actor.play.remote(self.matchup, self.opened.address, self.opened.token)

    def close(self) -> Ref:
        assert self.opened is not None, "the oracle is opened before it is closed"
        return self.host.actor.close.remote(self.opened.token)

    def abandon(self) -> None:
        """Have the oracle closed and its ledger removed, without waiting for it."""
        assert self.opened is not None, "the oracle is opened before it is closed"
        self.host.actor.close.remote(self.opened.token, keep=False)

    def score(self, played: PlayedMatch) -> Ref:
        artefacts = self.slot.new(self.store.of(self.victim_with_seed))
        bare = replace(played, report=replace(played.report, clone=None))
        assert self.ledger is not None, "a match is closed before it is scored"
        return self.slot.actor.score.remote(bare, for_node(self.ledger, self.slot.node), artefacts)

    def receive(self, returned: StageOutcome | Trained | Opened | Closed, site: Site) -> StageOutcome:
        """Store the data that a stage returned with its outcome, and return the outcome.

        Raises Ray's error if the host dies before its ledger is here.
        """
        match returned:
            case Trained():
                self.store.keep(self.victim_with_seed, returned.artefacts)
                self.slot.has |= set(returned.artefacts)
                return returned.outcome
            case Opened():
                self.opened = returned
                return Deployed()
            case Closed():
                self.ledger = ledger_path(site, self.matchup, self.number)
                bring(returned.ledger, self.host.actor, self.ledger)
                return returned.outcome
        return returned
