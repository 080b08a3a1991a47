"""Flattens a match result into names and values that a tracking server can filter by, plot and compare."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from arena.contracts import MatchResult, Spec, matchup_id, to_json
from arena.contracts.encoding import Json
from arena.payoff.matrix import bare_label, defense_label, label, own_score, payoff
from arena.tracking.overview import Entry, Table

FORBIDDEN_IN_NAMES = re.compile(r"[^\w./ :-]")
LONGEST_TAG = 5_000  # characters; MLflow cuts tags at 8,000 with a warning, and other servers refuse them
LONGEST_PARAM = 5_000  # characters; MLflow's limit for params is 6,000
LONGEST_DEFENSE = 40  # characters of a defense in a title; with more, its parameters are left out
CURVE = re.compile(r"curve/(\d+)/(.+)")
NOT_RECORDED = "not recorded"  # stands for a digest of data that no run folder has


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Data that a match used; ``context`` is what for: victim, pool or outliers."""

    name: str
    digest: str  # of the content
    context: str


def result_name(result: MatchResult) -> str:
    """Return a name that identifies a result: its key, or its matchup's id if it has none, and its attempt."""
    return f"{result.key or matchup_id(result.matchup)}-{result.attempt}"


def title(result: MatchResult) -> str:
    """Return who plays whom on which terms, the players first: a narrow column shows no more than the beginning."""
    matchup = result.matchup
    informed = " +informed" if matchup.informed else ""
    defense = defense_label(matchup.defense, matchup.knowledge)
    if len(defense) > LONGEST_DEFENSE:
        defense = bare_label(matchup.defense) + defense.removeprefix(label(matchup.defense))
    return f"{bare_label(matchup.attack)}{informed} vs {defense}, seed {matchup.seed}, {matchup.budget:,} rows"


def metrics(result: MatchResult) -> dict[tuple[str, int], float]:
    """Return values by name and step; a step is a number of queried rows, so that all curves share an axis.

    The names are those of the columns of results.csv. ``curve/100/a/fidelity`` becomes ``a/fidelity`` at step 100, and
    everything else is placed at the match's last row. A count becomes a share. A count with total 0 and a value that is
    not finite are left out: a server would show them as numbers.
    """
    shares: dict[str, float | None] = {name: count.share for name, count in result.counts.items() if count.total}
    summary = {
        "payoff": payoff(result),
        "own_score": own_score(result),
        "spent": result.spent,
        "rows": result.rows,
        "distinct_rows": result.distinct_rows,
        "calls": result.calls,
    }
    values = {**shares, **{str(name): value for name, value in result.measures.items()}, **summary}
    return {
        _place(name, result.rows): float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def params(result: MatchResult) -> dict[str, str]:
    """Return the terms of a match, without empty ones, and both players' hyper-parameters.

    The terms have the names and the values of the columns of results.csv. The hyper-parameters of a wrapped player are
    named like ``attack/base/step``.
    """
    matchup = result.matchup
    terms = {
        "victim": label(matchup.victim),
        "victim_seed": str(matchup.victim_seed),
        "attack": label(matchup.attack),
        "informed": str(matchup.informed).lower(),
        "defense": label(matchup.defense),
        "outliers": matchup.knowledge.outliers,
        "surrogate": matchup.knowledge.surrogate,
        "pool": matchup.pool,
        "pool_source": matchup.pool_source,
        "budget": str(matchup.budget),
        "seed": str(matchup.seed),
    }
    for role, player in (("attack", matchup.attack), ("defense", matchup.defense)):
        terms |= {legal_name(name): value for name, value in _parameters(role, player)}
    return {name: value[:LONGEST_PARAM] for name, value in terms.items() if value}


def tournament_params(config: str) -> dict[str, str]:
    """Return the terms of a tournament from its TOML, the players by their names; empty if it cannot be read."""
    try:
        table = tomllib.loads(config)
    except tomllib.TOMLDecodeError:
        return {}
    return {legal_name(key): words[:LONGEST_PARAM] for key, value in table.items() if (words := _in_words(value))}


def tags(result: MatchResult) -> dict[str, str]:
    """Return what came of a match and what identifies it, without empty values."""
    verdict = result.verdict
    unusable = sorted(str(name) for name, value in result.measures.items() if not math.isfinite(value))
    values = {
        "verdict": verdict.outcome,
        "fault": verdict.fault,
        "stage": verdict.stage,
        "reason": verdict.reason,
        "attempt": str(result.attempt),
        "isolation": result.isolation,
        "flags": ", ".join(result.flags),
        "not_finite": ", ".join(unusable),
        "matchup": matchup_id(result.matchup),
        "transcript_digest": result.transcript_digest,
        "clone_digest": result.clone_digest,
    }
    return {name: value[:LONGEST_TAG] for name, value in values.items() if value}


def data_sets(result: MatchResult, digests: Mapping[str, str]) -> list[DataSet]:
    """Return the data of a match; ``digests`` are those of its run folder, by description, as `inputs_of_all` has them."""
    matchup = result.matchup
    victim, pool = matchup.victim.name.rstrip("/").rpartition("/")[2], f"the pool {matchup.pool}"
    found = [
        ("victim", victim, f"the data of {label(matchup.victim)}"),
        (
            "pool",
            f"{victim}, pool {matchup.pool} {matchup.pool_source}".rstrip(),
            f"{pool} {matchup.pool_source}".rstrip(),
        ),
    ]
    if (outliers := matchup.knowledge.outliers) != "none":
        found.append(("outliers", f"{victim}, outliers {outliers}", f"the outliers {outliers}"))
    return [
        DataSet(name=name, digest=digests.get(described, NOT_RECORDED), context=context)
        for context, name, described in found
    ]


def confusion_table(result: MatchResult) -> Table | None:
    """Return which classes the clone confuses: test rows by the victim's decision or their label, and by the clone's."""
    found = result.confusion
    if found is None:
        return None
    classes, rows = range(found.classes), []
    for by, counts in (("victim decides", found.victim), ("labelled", found.labels)):
        for decided in classes:
            row: tuple[Entry, ...] = (by, decided, *counts[decided * found.classes : (decided + 1) * found.classes])
            rows.append(row)
    return Table(columns=("by", "class", *(f"clone {decided}" for decided in classes)), rows=tuple(rows))


def legal_name(name: str) -> str:
    """Return a name with every character except letters, digits, ``_ - . / :`` and spaces replaced by ``_``."""
    return FORBIDDEN_IN_NAMES.sub("_", name)


def _place(name: str, rows: int) -> tuple[str, int]:
    point = CURVE.fullmatch(name)
    return (legal_name(point[2]), int(point[1])) if point else (legal_name(name), rows)


def _parameters(role: str, player: Spec) -> Iterator[tuple[str, str]]:
    for name, value in player.params:
        if isinstance(value, Spec):
            yield f"{role}/{name}", bare_label(value)
            yield from _parameters(f"{role}/{name}", value)
        else:
            yield f"{role}/{name}", _shown(to_json(value))


def _shown(value: Json) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _in_words(value: object) -> str:
    """Return a value of a TOML file for a list of params: a player by its name, an entry by its folder's name."""
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    if isinstance(value, dict):
        name = value.get("name", value.get("path"))
        if name is None:
            return ", ".join(f"{key} = {_in_words(inner)}" for key, inner in value.items())
        return str(name).rstrip("/").rpartition("/")[2]
    return str(value)
