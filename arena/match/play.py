"""The stages of a match in this process, and whole matches that are played with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from arena.contracts import Attack, Defense, DefenseFault, MatchResult, Matchup, Oracle
from arena.defenses.none import NoDefense
from arena.match.admission import admit
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.deployment import open_session
from arena.match.honest_scores import latencies
from arena.match.preparation import DefendedVictim, prepare
from arena.match.rows import load_pool
from arena.match.scoring import PlayedMatch, score_match
from arena.match.site import Site
from arena.match.stages import Closed, Deployed, Match, Preparation, StageFailed, StageOutcome, VictimReady
from arena.match.victims import load_victim
from arena.oracle.local import LocalOracle
from arena.oracle.meter import Meter
from arena.oracle.session import Session
from arena.oracle.transcript import Transcript
from arena.registry import isolation_of

Transport: TypeAlias = Callable[[Session, Tensor, Clock], AbstractContextManager[Oracle]]
"""Puts an oracle in front of a session; it is given the pool too, because remote attacks fetch it over the wire."""


@contextlib.contextmanager
def in_process(session: Session, pool: Tensor, clock: Clock) -> Iterator[Oracle]:
    """Yield an oracle in this process, which is not a security boundary: use it for tests and code that you trust."""
    yield LocalOracle(session, time_left=clock)


class LocalStages:
    """The stages of one match, run one after another on the calling thread; each finds here what the last one left."""

    def __init__(
        self,
        match: Match,
        *,
        attack: Attack,
        defense: Defense,
        site: Site,
        transport: Transport = in_process,
        in_memory: bool = False,
        meter: Meter | None = None,
    ) -> None:
        """``in_memory`` keeps the ledger in memory, so that no file is written; the oracle counts in ``meter``."""
        self._match, self._attack, self._defense, self._site = match, attack, defense, site
        self._transport, self._in_memory, self._meter = transport, in_memory, meter
        self.defended: DefendedVictim | None = None
        self._session: Session | None = None
        self._transcript: Transcript | None = None

    @property
    def transcript(self) -> Transcript:
        """All calls of the match, available once its oracle is closed."""
        assert self._transcript is not None, "a transcript is read after the match is closed"
        return self._transcript

    def victim(self) -> StageOutcome:
        matchup = self._match.matchup
        load_victim(matchup.victim, matchup.victim_seed, self._site)
        return VictimReady()

    def prepare(self) -> StageOutcome:
        prepared = prepare_match(self._match.matchup, self._attack, self._defense, self._site)
        self.defended = prepared.defended
        return prepared.outcome

    def deploy(self) -> StageOutcome:
        assert self.defended is not None, "a defense is prepared before it is deployed"
        try:
            self._session = open_session(
                self._match.matchup,
                self._defense,
                self.defended,
                self._site,
                attempt=self._match.attempt,
                in_memory=self._in_memory,
                meter=self._meter,
            )
        except DefenseFault as error:
            return StageFailed(outcome="crashed", fault="defense", reason=str(error))
        return Deployed()

    def play(self) -> AttackReport:
        assert self._session is not None, "the oracle is opened before the attack plays"
        matchup, clock = self._match.matchup, Clock(self._site.limits.play)
        pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, self._site)
        with self._transport(self._session, pool, clock) as oracle:
            return attack_stage(self._attack, oracle, matchup=matchup, pool=pool, device=self._site.device, clock=clock)

    def close(self) -> StageOutcome:
        assert self._session is not None, "the oracle is opened before it is closed"
        self._transcript = self._session.close()
        return closed(self._session)

    def score(self, played: PlayedMatch) -> StageOutcome:
        assert self.defended is not None, "a match is prepared before it is scored"
        return score_match(played, self.transcript, defense=self._defense, defended=self.defended, site=self._site)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedMatch:
    """The outcome of preparing a match, with the defended victim if it succeeded."""

    outcome: StageOutcome
    defended: DefendedVictim | None = None


def prepare_match(matchup: Matchup, attack: Attack, defense: Defense, site: Site) -> PreparedMatch:
    """Admit a matchup, and train its surrogate and its defense unless they are cached.

    Raises `UsageError` for a matchup that cannot be played at all.
    """
    flags = admit(matchup, attack, defense, site)
    try:
        defended = prepare(matchup, defense, site, shadow=lambda undefended: stolen_clone(undefended, attack, site))
    except DefenseFault as error:
        failed = StageFailed(outcome="crashed", fault="defense", reason=str(error), flags=flags)
        return PreparedMatch(outcome=failed)
    outcome = Preparation(flags=(*flags, *defended.flags), measures=defended.measures)
    return PreparedMatch(outcome=outcome, defended=defended)


def closed(session: Session) -> Closed:
    """Return the outcome of closing a session."""
    return Closed(
        defense_fault=str(session.fault) if session.fault else "",
        facts=session.facts(),
        latencies=latencies(session.honest_seconds),
    )


def play(
    matchup: Matchup,
    *,
    attack: Attack,
    defense: Defense,
    site: Site,
    attempt: int = 1,
    transport: Transport = in_process,
    meter: Meter | None = None,
) -> MatchResult:
    """Play a matchup and return its result, whatever the players do; the oracle counts in ``meter``.

    Raises `UsageError` for a matchup that cannot be played at all.
    """
    isolation = isolation_of(matchup.attack, matchup.defense, otherwise="in-process")
    match = Match(matchup, attempt=attempt, isolation=isolation)
    stages = LocalStages(match, attack=attack, defense=defense, site=site, transport=transport, meter=meter)
    while match.ending is None:
        match.take(match.begin(stages))
    match.ending.save_pictures(site.pictures)
    return match.ending.result


def stolen_clone(matchup: Matchup, attack: Attack, site: Site) -> nn.Module:
    """Return the clone that ``attack`` extracts from the undefended victim in a shadow match, which is not recorded.

    Raises `DefenseFault` if the attack returns no clone, because the defense then has no surrogate.
    """
    match = Match(matchup, attempt=0, isolation="in-process", stage="deploy")
    stages = LocalStages(match, attack=attack, defense=NoDefense(), site=site, in_memory=True)
    stages.defended = prepare(matchup, NoDefense(), site)  # without admission: an unmet need shows in the verdict
    while match.ending is None and match.stage != "close":
        match.take(match.begin(stages))
    if match.report.clone is None:
        message = (
            f"the shadow match that was to give the defense its surrogate returned no clone: "
            f"{match.report.verdict.reason}"
        )
        raise DefenseFault(message)
    return match.report.clone
