"""Stories for tests of the report: a small tournament, and what strangers may write into one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arena.contracts import Count, MatchResult, Spec, Verdict
from arena.contracts import scores as names
from arena.report.record import RunRecord
from arena.report.sections.story import Rates, Story, story_of
from tests.payoff.matches import by_image, honest, match, over_seeds

HOSTILE = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</script><script>window.pwned=1</script>",
    "<!--",
    "{{ 7 * 7 }}{% raw %}",
    "'; window.pwned = 1; '",
    "]]></style><svg onload=window.pwned=1>",
    "\\input{/etc/passwd} & 50 % $x_1$ ~ ^ # {",
    "| a | b |\n\n# heading [link](javascript:alert(1))",
    "$\\frac{1}{",
    "_hidden",
)


def story(
    results: list[MatchResult], *, rates: Rates | None = None, folder: Path | None = None, **terms: object
) -> Story:
    record = replace(RunRecord(name="small", results=tuple(results), folder=folder), **terms)
    return story_of(record, rates)


def small_tournament() -> list[MatchResult]:
    return [
        *over_seeds("knockoff", "none", [800, 810, 820, 830, 840]),
        *over_seeds("knockoff", "label-only", [700, 710, 720, 730, 740]),
        *over_seeds("jbda", "none", [900, 910, 920, 930, 940]),
        *over_seeds("jbda", "label-only", [600, 610, 620, 630, 640]),
    ]


def with_curves(attack: str = "knockoff", defense: str = "none") -> list[MatchResult]:
    """Five seeds with clones after 25, 50 and 100 rows; the victim has 95 % accuracy."""
    counts = {
        **honest(lost=0, changed=0),
        "a/fidelity": (900, 1_000),
        "a/accuracy": (880, 1_000),
        "curve/25/a/fidelity": (600, 1_000),
        "curve/25/a/accuracy": (600, 1_000),
        "curve/50/a/fidelity": (800, 1_000),
        "curve/50/a/accuracy": (790, 1_000),
    }
    return [match(attack, defense, seed=seed, counts=counts, outcomes=by_image(lost=0)) for seed in range(5)]


def hostile_tournament() -> list[MatchResult]:
    """Every word that a player's author can write is markup of some kind."""
    results = []
    for place, words in enumerate(HOSTILE):
        verdict = Verdict(outcome="crashed", fault="attack", stage="play", reason=words, output=words)
        attack = Spec(name=f"agents/{words}", params=(("note", words),))
        one = match(
            attack, Spec(name=words), seed=place, verdict=verdict, flags=("timed",), counts=honest(lost=1, changed=2)
        )
        counts = {**one.counts, names.threat_count("evasion", " ".join(words.replace("/", "-").split())): Count(1, 2)}
        results.append(replace(one, counts=counts, pictures=(f"../{words}.png",)))
    return [*over_seeds("knockoff", "none", [800] * 5), *results]
