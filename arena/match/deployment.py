"""Opens a defended victim for one match, with a fresh responder, a fresh ledger and a script of honest traffic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arena.contracts import Defense, DefenseFault, Matchup, Note, Responder, Task, matchup_id
from arena.contracts.facts import unnoted
from arena.match.facts import Facts
from arena.match.preparation import DefendedVictim
from arena.match.rows import honest_traffic
from arena.match.site import Site
from arena.oracle.interrupts import is_operators
from arena.oracle.ledger import MemoryLedger
from arena.oracle.meter import Meter
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms

SQLITE_ENDINGS = ("-journal", "-wal", "-shm")  # of the files that SQLite may leave beside a database


def open_session(
    matchup: Matchup,
    defense: Defense,
    defended: DefendedVictim,
    site: Site,
    *,
    attempt: int,
    in_memory: bool = False,
    meter: Meter | None = None,
) -> Session:
    """Deploy ``defense`` for one match and return its open oracle, which counts in ``meter``.

    Raises `DefenseFault` if it cannot be deployed.
    """
    traffic = honest_traffic(matchup, site)
    path = ledger_path(site, matchup, attempt)
    if in_memory:
        ledger: MemoryLedger | SqliteLedger = MemoryLedger(budget=matchup.budget, attempt=attempt)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        for ending in ("", *SQLITE_ENDINGS):  # what a run left that ended in the middle of this match
            path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
        ledger = SqliteLedger.open(path, budget=matchup.budget, attempt=attempt)
    facts = Facts("defense")
    return Session(
        oracle_terms(matchup, defended.context.victim.task),
        responder=deploy(matchup, defense, defended, site, note=facts.note),
        ledger=ledger,
        account_numbers=traffic.account_numbers,
        explainer=defended.context.explainer,
        decimals=matchup.decimals,
        honest=traffic,
        facts=lambda: facts.measures,
        meter=meter,
    )


def oracle_terms(matchup: Matchup, task: Task) -> OracleTerms:
    """Return what an attack is told about the oracle of a matchup."""
    return OracleTerms(
        task=task,
        budget=matchup.budget,
        accounts=matchup.accounts,
        explanation=matchup.explanation.name if matchup.explanation else None,
        explanation_price=matchup.explanation_price,
    )


def deploy(
    matchup: Matchup, defense: Defense, defended: DefendedVictim, site: Site, *, note: Note = unnoted
) -> Responder:
    """Return a fresh responder, which draws from the defense's generator of this match. Raises `DefenseFault`."""
    rng = site.secret.generator(matchup.seed, "defense")
    try:
        return defense.deploy(replace(defended.context, note=note), defended.state, rng=rng)
    except BaseException as error:
        if is_operators(error):
            raise
        message = f"{matchup.defense.name} could not be deployed: {type(error).__name__}: {error}"
        raise DefenseFault(message) from error


def ledger_path(site: Site, matchup: Matchup, attempt: int) -> Path:
    """Return the path of a match's ledger, one for each match and attempt."""
    return site.work / f"{matchup_id(matchup)}-{attempt}.sqlite"
