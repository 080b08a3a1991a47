"""Who plays whom on which terms, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arena.contracts.defense import Knowledge
from arena.contracts.spec import PoolKind, Spec

Outcome = Literal["completed", "timed out", "crashed", "disqualified", "infrastructure"]
Fault = Literal["nobody", "attack", "defense", "arena"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the referee trains a clone from a transfer set (tracks A and A-hard), the same for every attack."""

    arch: str = "auto"
    steps: int | None = None  # None: learning.distillation.recipe_steps(rows)


@dataclass(frozen=True, kw_only=True)
class Matchup:
    """Who plays whom on which terms; goes to and comes from JSON; its hash is its id."""

    victim: Spec
    victim_seed: int
    defense: Spec
    knowledge: Knowledge
    attack: Spec
    informed: bool = False  # the attack is told the defense's spec
    pool: PoolKind
    pool_source: str = ""  # data set or generator of the pool; empty: the default source of the victim's data
    budget: int
    accounts: int = 1
    seed: int
    explanation: Spec | None = None
    explanation_price: int = 1
    decimals: int | None = None  # None: released rows are not rounded
    recipe: Recipe = Recipe()
    threats: tuple[Spec, ...] = ()  # what the referee tries with the finished clone
    threat_budget: int = 1_000  # rows that each threat may ask of the defended victim
    curve: tuple[int, ...] = ()  # rows after which a fresh track A clone is also scored; the last is always there


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a match ended, in which stage and through whose fault, with the player's own (capped) output."""

    outcome: Outcome
    fault: Fault = "nobody"
    stage: str = ""
    reason: str = ""
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class MatchResult:
    """What came of a match; counts are (hits, total), divided once, by the reader; absent is absent, never NaN."""

    matchup: Matchup
    attempt: int
    verdict: Verdict
    isolation: str  # "in-process", "process" (an actor of its own), or a sandbox's name
    key: str = ""  # matchup, code of both players, version of the rules: an equal key is an equal result
    transcript_digest: str = ""
    clone_digest: str = ""  # empty: no clone came back
    spent: int = 0
    rows: int = 0
    distinct_rows: int = 0
    calls: int = 0
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # "a/fidelity", "a-hard/accuracy", "b/fidelity", "floor/fidelity", "utility/kept", "curve/100/a/fidelity",
    # "a/fidelity_deployed", "threat/evasion/...", ...
    measures: Mapping[str, float] = field(default_factory=dict)  # "b/tv_test", "utility/l1", "attack/cpu_seconds", ...
    pictures: tuple[str, ...] = ()  # file names in the run's folder of pictures
    flags: tuple[str, ...] = ()  # "leak", "timed", "undertrained", "honest rows short", ...
