"""The payoff matrix: what each attack gets from each defended victim, over seeds.

A match's payoff is the largest fidelity of tracks A, A-hard and B; where an attack fell over before its first
answer, the floor of a clone that asked nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arena.contracts import Knowledge, MatchResult, Parameter, Spec
from arena.metrics.intervals import Interval, mean_interval

TRACKS = ("a", "a-hard", "b")


@dataclass(frozen=True, kw_only=True, order=True)
class Terms:
    """What the cells of one matrix have in common; rows of different terms are never compared."""

    victim: str
    pool: str
    budget: int


@dataclass(frozen=True, kw_only=True)
class PayoffMatrix:
    """Payoffs by (attack, defense) and seed, in the order in which they were first seen; missing cells are missing."""

    terms: Terms
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    payoffs: Mapping[tuple[str, str], Mapping[int, float]]
    own: Mapping[tuple[str, str], Mapping[int, float]]  # track B alone: what the attack made of its answers
    results: Mapping[tuple[str, str], tuple[MatchResult, ...]]

    def short(self, player: str) -> str:
        """Return a player's name without its parameters, if that still tells it from the others of the matrix."""
        others = self.attacks if player in self.attacks else self.defenses
        name = without_parameters(player)
        return name if sum(without_parameters(other) == name for other in others) == 1 else player

    def named(self, name: str) -> str | None:
        """Return the first player of this name, whatever its parameters; None if there is none."""
        return next((one for one in (*self.attacks, *self.defenses) if without_parameters(one) == name), None)

    def cell(self, attack: str, defense: str) -> Interval | None:
        """Return mean and interval over seeds, None if every match of the cell is missing."""
        values = list(self.payoffs.get((attack, defense), {}).values())
        return mean_interval(values) if values else None

    def worst_case(self, defense: str) -> Interval | None:
        """Return what the worst attack gets, chosen on the other seeds: a maximum over the same seeds is biased up."""
        columns = {attack: self.payoffs.get((attack, defense), {}) for attack in self.attacks}
        seeds = sorted({seed for column in columns.values() for seed in column})
        values = []
        for seed in seeds:
            elsewhere = {attack: _mean_without(column, seed) for attack, column in columns.items() if seed in column}
            if elsewhere:
                worst = max(elsewhere, key=lambda attack: elsewhere[attack])
                values.append(columns[worst][seed])
        return mean_interval(values) if values else None

    def of_defense(self, defense: str) -> list[MatchResult]:
        """Return all matches of a defended victim."""
        return [result for attack in self.attacks for result in self.results.get((attack, defense), ())]

    def of_attack(self, attack: str) -> list[MatchResult]:
        """Return all matches of an attack."""
        return [result for defense in self.defenses for result in self.results.get((attack, defense), ())]


def payoff(result: MatchResult) -> float | None:
    """Return a match's payoff in [0, 1], None if the match is missing."""
    if result.verdict.outcome == "infrastructure":
        return None
    found = [hits / total for track in TRACKS for hits, total in _count(result, f"{track}/fidelity")]
    found = found or [hits / total for hits, total in _count(result, "floor/fidelity")]
    return max(found, default=None)


def matrices(results: Iterable[MatchResult]) -> list[PayoffMatrix]:
    """Return one matrix for each combination of victim, pool and budget."""
    grouped: dict[Terms, list[MatchResult]] = {}
    for result in results:
        grouped.setdefault(terms_of(result), []).append(result)
    return [_matrix(terms, group) for terms, group in grouped.items()]


def terms_of(result: MatchResult) -> Terms:
    """Return what a result shares with the others of its matrix."""
    matchup = result.matchup
    pool = f"{matchup.pool}:{matchup.pool_source}" if matchup.pool_source else matchup.pool
    victim = label(matchup.victim) + (f" #{matchup.victim_seed}" if matchup.victim_seed else "")
    return Terms(victim=victim, pool=pool, budget=matchup.budget)


def label(spec: Spec) -> str:
    """Return a player as a reader writes it: ``argmax(base=jbda)``, an entry by its folder's name."""
    name = spec.name.rstrip("/").rsplit("/", 1)[-1]
    inside = ", ".join(f"{key}={_shown(value)}" for key, value in spec.params)
    return f"{name}({inside})" if inside else name


def attack_label(spec: Spec, *, informed: bool) -> str:
    """Return an attack, marked if it was told the defense: a defense is ranked by its worst case over both."""
    return label(spec) + (" +informed" if informed else "")


def without_parameters(player: str) -> str:
    """Return a label with only names left in it: ``argmax(base=knockoff(steps=500))`` becomes ``argmax(knockoff)``."""
    name, _, inside = player.partition("(")
    known = "".join(f" +{word}" for word in player.rpartition(")")[2].split(" +")[1:]) if inside else ""
    base = next((part.partition("=")[2] for part in inside.split(", ") if part.startswith("base=")), "")
    return f"{name}({without_parameters(base.rstrip(')'))})" if base else name + known


def defense_label(spec: Spec, knowledge: Knowledge) -> str:
    """Return a defense with what it was let know beyond the least: two of the same name may know different things."""
    known = [word for word in (knowledge.surrogate, knowledge.outliers) if word not in ("none", "random", "far")]
    return label(spec) + "".join(f" +{word}" for word in known)


def _matrix(terms: Terms, results: Iterable[MatchResult]) -> PayoffMatrix:
    payoffs: dict[tuple[str, str], dict[int, float]] = {}
    own: dict[tuple[str, str], dict[int, float]] = {}
    cells: dict[tuple[str, str], list[MatchResult]] = {}
    for result in results:
        matchup = result.matchup
        place = (
            attack_label(matchup.attack, informed=matchup.informed),
            defense_label(matchup.defense, matchup.knowledge),
        )
        cells.setdefault(place, []).append(result)
        value = payoff(result)
        if value is not None:
            payoffs.setdefault(place, {})[matchup.seed] = value
            for hits, total in _count(result, "b/fidelity"):
                own.setdefault(place, {})[matchup.seed] = hits / total
    return PayoffMatrix(
        terms=terms,
        attacks=tuple(dict.fromkeys(attack for attack, _ in cells)),
        defenses=tuple(dict.fromkeys(defense for _, defense in cells)),
        payoffs=payoffs,
        own=own,
        results={place: tuple(found) for place, found in cells.items()},
    )


def _count(result: MatchResult, key: str) -> list[tuple[int, int]]:
    return [result.counts[key]] if key in result.counts and result.counts[key][1] else []


def _mean_without(column: Mapping[int, float], seed: int) -> float:
    others = [value for other, value in column.items() if other != seed]
    return sum(others) / len(others) if others else column[seed]


def _shown(value: Parameter) -> str:
    return label(value) if isinstance(value, Spec) else f"{value}"
