"""Flattens a match result into names and values that a tracking server can filter by, plot and compare."""

from __future__ import annotations

import re
from collections.abc import Iterator

from arena.contracts import MatchResult, Spec, matchup_id, to_json
from arena.contracts.encoding import Json

FORBIDDEN_IN_NAMES = re.compile(r"[^\w./ :-]")
LONGEST_TAG = 5_000  # characters; MLflow cuts tags at 8,000 with a warning, and other servers refuse them
LONGEST_PARAM = 5_000  # characters; MLflow's limit for params is 6,000
CURVE = re.compile(r"curve/(\d+)/(.+)")


def result_name(result: MatchResult) -> str:
    """Return a name that identifies a result: its key, or its matchup's id if it has none, and its attempt."""
    return f"{result.key or matchup_id(result.matchup)}-{result.attempt}"


def title(result: MatchResult) -> str:
    """Return a title by which a person recognises a match in a list."""
    matchup = result.matchup
    return f"{matchup.attack.name} vs {matchup.defense.name}, {matchup.budget} queries, seed {matchup.seed}"


def metrics(result: MatchResult) -> dict[tuple[str, int], float]:
    """Return values by name and step; a step is a number of queried rows, so that all curves share an axis.

    ``curve/100/a/fidelity`` becomes ``a/fidelity`` at step 100; everything else is placed at the match's last row. A
    count becomes a share; a count with total 0 is left out.
    """
    shares: dict[str, float] = {name: count.share for name, count in result.counts.items() if count.total}
    spending = {
        "spent": result.spent,
        "rows": result.rows,
        "distinct_rows": result.distinct_rows,
        "calls": result.calls,
    }
    values = {**shares, **{str(name): value for name, value in result.measures.items()}, **spending}
    return {_place(name, result.rows): float(value) for name, value in values.items()}


def params(result: MatchResult) -> dict[str, str]:
    """Return both players' hyper-parameters; those of a wrapped player are named like ``attack/base/step``."""
    players = {"attack": result.matchup.attack, "defense": result.matchup.defense}
    return {
        legal_name(name): value[:LONGEST_PARAM]
        for role, player in players.items()
        for name, value in _parameters(role, player)
    }


def tags(result: MatchResult) -> dict[str, str]:
    """Return the values by which results are filtered and grouped, without empty ones."""
    matchup, verdict = result.matchup, result.verdict
    values = {
        "attack": matchup.attack.name,
        "defense": matchup.defense.name,
        "victim": matchup.victim.name,
        "victim_seed": str(matchup.victim_seed),
        "seed": str(matchup.seed),
        "budget": str(matchup.budget),
        "pool": matchup.pool,
        "pool_source": matchup.pool_source,
        "informed": str(matchup.informed).lower(),
        "outliers": matchup.knowledge.outliers,
        "outlier_source": matchup.knowledge.outlier_source,
        "surrogate": matchup.knowledge.surrogate,
        "verdict": verdict.outcome,
        "fault": verdict.fault,
        "stage": verdict.stage,
        "reason": verdict.reason,
        "attempt": str(result.attempt),
        "isolation": result.isolation,
        "flags": ", ".join(result.flags),
        "matchup": matchup_id(matchup),
        "transcript_digest": result.transcript_digest,
        "clone_digest": result.clone_digest,
    }
    return {name: value[:LONGEST_TAG] for name, value in values.items() if value}


def legal_name(name: str) -> str:
    """Return a name with every character except letters, digits, ``_ - . / :`` and spaces replaced by ``_``."""
    return FORBIDDEN_IN_NAMES.sub("_", name)


def _place(name: str, rows: int) -> tuple[str, int]:
    point = CURVE.fullmatch(name)
    return (legal_name(point[2]), int(point[1])) if point else (legal_name(name), rows)


def _parameters(role: str, player: Spec) -> Iterator[tuple[str, str]]:
    for name, value in player.params:
        if isinstance(value, Spec):
            yield f"{role}/{name}", value.name
            yield from _parameters(f"{role}/{name}", value)
        else:
            yield f"{role}/{name}", _shown(to_json(value))


def _shown(value: Json) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)
