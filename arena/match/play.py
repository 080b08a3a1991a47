"""One match from beginning to end in this process: prepare, deploy, play, close, score.

The Ray runner plays the same stages, each in the process where it belongs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

from torch import Tensor, nn

from arena.contracts import Attack, Defense, DefenseFault, MatchResult, Matchup, Oracle, Verdict
from arena.defenses.none import NoDefense
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.deployment import open_session
from arena.match.oracle import LocalOracle
from arena.match.preparation import check, load_pool, prepare
from arena.match.scoring import result_of
from arena.match.session import Session
from arena.match.site import Site

Transport: TypeAlias = Callable[[Session, Tensor, Clock], AbstractContextManager[Oracle]]
"""Puts an oracle in front of a session; the pool goes along for those who fetch it over the wire."""


@contextlib.contextmanager
def in_process(session: Session, pool: Tensor, clock: Clock) -> Iterator[Oracle]:
    """The oracle without a wire; no security boundary: for tests and trusted code."""
    yield LocalOracle(session, time_left=clock)


def play(
    matchup: Matchup,
    *,
    attack: Attack,
    defense: Defense,
    site: Site,
    attempt: int = 1,
    transport: Transport = in_process,
) -> MatchResult:
    """Play a matchup and return its result, whatever the players do.

    Raises `UsageError` for a matchup that cannot be played at all.
    """
    flags = check(matchup, attack, defense, site)
    try:
        prepared = prepare(matchup, defense, site, shadow=lambda terms: stolen_clone(terms, attack, site))
    except DefenseFault as error:
        report = never_played("prepare", error)
        return result_of(matchup, attempt=attempt, site=site, defense=defense, report=report, flags=flags).result
    pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    try:
        session = open_session(matchup, defense, prepared, site, attempt=attempt)
    except DefenseFault as error:
        report = never_played("deploy", error)
        return result_of(matchup, attempt=attempt, site=site, defense=defense, report=report, flags=flags).result
    clock = Clock(site.limits.play)
    with transport(session, pool, clock) as oracle:
        report = attack_stage(attack, oracle, matchup=matchup, pool=pool, device=site.device, clock=clock)
    transcript = session.close()
    scored = result_of(
        matchup,
        attempt=attempt,
        site=site,
        defense=defense,
        report=report,
        prepared=prepared,
        transcript=transcript,
        defense_fault=str(session.fault) if session.fault else "",
        flags=(*flags, *prepared.flags),
        measures=dict(prepared.measures),
    )
    return scored.kept(site.pictures)


def never_played(stage: str, error: DefenseFault) -> AttackReport:
    """Return the report of a match that a defense's fault ended before its first query."""
    return AttackReport(verdict=Verdict(outcome="crashed", fault="defense", stage=stage, reason=str(error)))


def stolen_clone(matchup: Matchup, attack: Attack, site: Site) -> nn.Module:
    """Return what ``attack`` steals from the undefended victim in a shadow match; nothing of it is recorded.

    Raises `DefenseFault` if the attack brings nothing back: the surrogate that it was for cannot be had.
    """
    prepared = prepare(matchup, NoDefense(), site)
    pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    session = open_session(matchup, NoDefense(), prepared, site, attempt=0, in_memory=True)
    clock = Clock(site.limits.play)
    oracle = LocalOracle(session, time_left=clock)
    report = attack_stage(attack, oracle, matchup=matchup, pool=pool, device=site.device, clock=clock)
    if report.clone is None:
        message = f"the shadow match for the attacker's surrogate brought no clone: {report.verdict.reason}"
        raise DefenseFault(message)
    return report.clone
