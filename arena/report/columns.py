"""The columns of a tournament as data: one row per match, with the same columns in the data frame and in results.csv.

A count of `arena.contracts.scores` becomes three columns: ``NAME`` is its share in [0, 1], and ``NAME:hits`` and
``NAME:total`` are the integers behind it. A measure becomes one column. What a match does not have stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from arena.contracts import CountName, MatchResult, MeasureName, matchup_id
from arena.payoff.matrix import label, own_score, payoff
from arena.report.score_meanings import meaning_of

Value: TypeAlias = str | int | float | bool | None
Kind = Literal["text", "count", "share", "number", "yes or no"]

HITS, TOTAL = ":hits", ":total"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: what it is called, what kind of value it has, what that means, and how a match's value is found."""

    name: str
    kind: Kind
    meaning: str
    of: Callable[[MatchResult], Value]


def columns_of(results: Sequence[MatchResult]) -> list[Column]:
    """Return the columns of these results: those of every match, then one group per score that any of them has."""
    counts = sorted({name for result in results for name in result.counts})
    measures = sorted({name for result in results for name in result.measures})
    return [*MATCH_COLUMNS, *(column for name in counts for column in _of_count(name)), *map(_of_measure, measures)]


def _of_count(name: CountName) -> list[Column]:
    def share(result: MatchResult) -> Value:
        count = result.counts.get(name)
        return count.share if count is not None and count.total else None

    def hits(result: MatchResult) -> Value:
        return result.counts[name].hits if name in result.counts else None

    def total(result: MatchResult) -> Value:
        return result.counts[name].total if name in result.counts else None

    meaning = meaning_of(name)
    return [
        Column(name=name, kind="share", meaning=meaning, of=share),
        Column(name=name + HITS, kind="count", meaning=f"the number of hits behind {name}", of=hits),
        Column(name=name + TOTAL, kind="count", meaning=f"the number of rows behind {name}", of=total),
    ]


def _of_measure(name: MeasureName) -> Column:
    def value(result: MatchResult) -> Value:
        return result.measures.get(name)

    return Column(name=name, kind="number", meaning=meaning_of(name), of=value)


def _text(name: str, meaning: str, of: Callable[[MatchResult], str]) -> Column:
    return Column(name=name, kind="text", meaning=meaning, of=of)


def _count(name: str, meaning: str, of: Callable[[MatchResult], int]) -> Column:
    return Column(name=name, kind="count", meaning=meaning, of=of)


MATCH_COLUMNS: tuple[Column, ...] = (
    _text("match", "id of the match, a hash of its terms", lambda one: matchup_id(one.matchup)),
    _text("victim", "the victim with its parameters", lambda one: label(one.matchup.victim)),
    _count("victim_seed", "seed with which the victim was trained", lambda one: one.matchup.victim_seed),
    _text("defense", "the defense with its parameters", lambda one: label(one.matchup.defense)),
    _text("outliers", "outliers that the defense was trained with", lambda one: one.matchup.knowledge.outliers),
    _text("surrogate", "surrogate that the defense was given", lambda one: one.matchup.knowledge.surrogate),
    _text("attack", "the attack with its parameters", lambda one: label(one.matchup.attack)),
    Column(
        name="informed",
        kind="yes or no",
        meaning="whether the attack was told which defense it meets",
        of=lambda one: one.matchup.informed,
    ),
    _text("pool", "kind of pool that the attack was given", lambda one: one.matchup.pool),
    _text("pool_source", "data set of the pool; empty: the victim's default", lambda one: one.matchup.pool_source),
    _count("budget", "query budget, in rows", lambda one: one.matchup.budget),
    _count("seed", "seed of the match; matches with the same seed are paired", lambda one: one.matchup.seed),
    _count("attempt", "number of the attempt that gave this result", lambda one: one.attempt),
    _text("outcome", "completed, timed out, crashed, disqualified or infrastructure", lambda one: one.verdict.outcome),
    _text("fault", "whose fault it was: nobody, attack, defense or arena", lambda one: one.verdict.fault),
    _text("stage", "stage in which the match ended, if it did not complete", lambda one: one.verdict.stage),
    _text("reason", "why it did not complete, in words", lambda one: one.verdict.reason),
    _text(
        "flags",
        "what to know before comparing the result, separated by spaces",
        lambda one: " ".join(flag.replace(" ", "-") for flag in one.flags),
    ),
    _text("isolation", "how the attack was isolated from the referee", lambda one: one.isolation),
    _count("spent", "units of the budget that were spent", lambda one: one.spent),
    _count("rows", "rows that the attack queried", lambda one: one.rows),
    _count("distinct_rows", "distinct rows among them", lambda one: one.distinct_rows),
    _count("calls", "calls in which it queried them", lambda one: one.calls),
    Column(
        name="payoff",
        kind="share",
        meaning="largest fidelity of tracks A, A-hard and B; empty: the match is missing",
        of=payoff,
    ),
    Column(
        name="own_score",
        kind="share",
        meaning="fidelity of the clone that the attack returned; empty: the match is missing",
        of=own_score,
    ),
    _text("transcript_digest", "digest of all calls and answers, in order", lambda one: one.transcript_digest),
    _text("clone_digest", "digest of the attack's clone; empty: it returned none", lambda one: one.clone_digest),
    _text("key", "digest of everything that the result depends on", lambda one: one.key),
)
"""The columns that every match has, whatever was scored."""
