"""The payoff matrix: what each attack gets from each defended victim, over seeds.

A match's payoff is the largest fidelity of tracks A, A-hard and B, to the victim or to what the deployed defense decides:
a perfect copy of what is served is a complete theft. If an attack fell over before its first answer, its payoff is the
floor, the fidelity of a clone that asked nothing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass

from arena.contracts import TRACKS, Count, CountName, Knowledge, MatchResult, Parameter, Spec, Track
from arena.contracts.flags import COST_NOT_RANKED, LEAK, UNSAFE
from arena.contracts.scores import CONTROL, CloneCount, clone_count
from arena.metrics.extremes import largest_mean
from arena.metrics.intervals import Interval
from arena.metrics.shared_variance import share_intervals
from arena.registry import is_newest

FIDELITIES: tuple[CloneCount, ...] = ("fidelity", "fidelity_deployed")
UNSAID = ("none", "random")  # what a defense knows at the least: a label leaves it out


RAN_UNSAFE = " +unsafe"
"""Ends the label of an entry whose code ran without a sandbox."""


@dataclass(frozen=True, kw_only=True, order=True)
class Setting:
    """What the cells of one matrix have in common; rows of different settings are never compared."""

    victim: str
    pool: str
    budget: int

    @property
    def words(self) -> str:
        """The setting in words."""
        return f"victim {self.victim}, pool {self.pool}, {self.budget:,} rows"


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The largest mean payoff that any attack gets against a defense, over the seeds that all attacks have in common."""

    attack: str
    interval: Interval  # for the largest true mean, whichever attack has it
    values: Mapping[int, float]  # of the named attack, by seed
    near: int  # the number of attacks that may be the worst one, the named one included


@dataclass(frozen=True, kw_only=True)
class PayoffMatrix:
    """Payoffs by (attack, defense) and seed, in the order in which they were first seen. Missing cells stay missing.

    An informed attack has its own row, so a worst case is taken over both blind and informed attacks.
    """

    setting: Setting
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    specs: Mapping[str, Spec]  # of every player by its label
    informed: frozenset[str]  # the attacks that are told
    payoffs: Mapping[tuple[str, str], Mapping[int, float]]
    own: Mapping[tuple[str, str], Mapping[int, float]]  # what the attack made of its answers
    results: Mapping[tuple[str, str], tuple[MatchResult, ...]]
    images: int  # the number of test rows behind each payoff, or the smallest number if matches differ

    def short(self, player: str) -> str:
        """Return the shortest name of a player that still tells it from the others of its side.

        Its parameters are left out first, what it knows or is told second; that it ran without a sandbox never.
        """
        peers = self.attacks if player in self.attacks else self.defenses
        for name in (self._bare, self._bare_and_told, self._untold):
            if sum(name(other) == name(player) for other in peers) == 1:
                marked = player.endswith(RAN_UNSAFE) and not name(player).endswith(RAN_UNSAFE)
                return name(player) + (RAN_UNSAFE if marked else "")
        return player

    def named(self, name: str) -> str | None:
        """Return the first player of this name, whatever its parameters; None if there is none."""
        return next((one for one in (*self.attacks, *self.defenses) if self.specs[one].name == name), None)

    @property
    def seeds(self) -> int:
        """The number of seeds of the cell that has the most."""
        return max((len(cell) for cell in self.payoffs.values()), default=0)

    @functools.cached_property
    def leaked(self) -> frozenset[str]:
        """The defenses whose outliers give away what the attack queries; they are shown, but not compared with others."""
        return frozenset(defense for defense in self.defenses if self._has_flag(defense, LEAK))

    @functools.cached_property
    def unranked(self) -> frozenset[str]:
        """The defenses that are not ranked: those with a leak, and those whose cost could not be measured fairly."""
        return self.leaked | {defense for defense in self.defenses if self._has_flag(defense, COST_NOT_RANKED)}

    @functools.cached_property
    def cells(self) -> Mapping[tuple[str, str], Interval]:
        """The mean over seeds of every cell that has a match, with its interval."""
        played = {place: tuple(values.values()) for place, values in self.payoffs.items()}
        return dict(zip(played, share_intervals(list(played.values()), images=self.images), strict=True))

    def cell(self, attack: str, defense: str) -> Interval | None:
        """Return the mean over seeds with its interval, or None if every match of the cell is missing."""
        return self.cells.get((attack, defense))

    def seeds_of(self, defense: str, *, attacks: Collection[str] | None = None) -> Set[int]:
        """Return the seeds on which all of ``attacks`` have a payoff, leaving out attacks that never met the defense."""
        columns = [self.payoffs.get((attack, defense), {}) for attack in attacks or self.attacks]
        return set.intersection(*(set(column) for column in columns if column)) if any(columns) else set()

    def worst_case(
        self, defense: str, *, attacks: Collection[str] | None = None, seeds: Set[int] | None = None
    ) -> WorstCase | None:
        """Return the worst case over ``attacks``, by default all of them, or None if they have no seed in common.

        ``seeds`` are the seeds to use, by default all that the attacks have in common. If several attacks have the same
        mean, the first one by name is reported.
        """
        played = sorted(attack for attack in attacks or self.attacks if self.payoffs.get((attack, defense)))
        counted = sorted(self.seeds_of(defense, attacks=attacks) if seeds is None else seeds)
        if not played or not counted:
            return None
        rows = [[self.payoffs[attack, defense][seed] for seed in counted] for attack in played]
        worst = largest_mean(rows, images=self.images)
        return WorstCase(
            attack=played[worst.place],
            interval=worst.interval,
            values=dict(zip(counted, rows[worst.place], strict=True)),
            near=worst.near,
        )

    def of_defense(self, defense: str) -> list[MatchResult]:
        """Return all matches of a defended victim."""
        return [result for attack in self.attacks for result in self.results.get((attack, defense), ())]

    def _has_flag(self, defense: str, flag: str) -> bool:
        return any(flag in result.flags for result in self.of_defense(defense))

    def _bare(self, player: str) -> str:
        return bare_label(self.specs[player])

    def _untold(self, player: str) -> str:
        return label(self.specs[player])

    def _bare_and_told(self, player: str) -> str:
        return self._bare(player) + player.removeprefix(self._untold(player))


def payoff(result: MatchResult) -> float | None:
    """Return a match's payoff in [0, 1], None if the match is missing."""
    return _largest_fidelity(result, TRACKS)


def own_score(result: MatchResult) -> float | None:
    """Return what the attack made of its answers; without a clone, what the referee makes of them or the floor."""
    return _largest_fidelity(result, ("b",) if clone_count("b", "fidelity") in result.counts else ("a",))


def matrices(results: Iterable[MatchResult]) -> list[PayoffMatrix]:
    """Return one matrix for each combination of victim, pool and budget."""
    grouped: dict[Setting, list[MatchResult]] = {}
    for result in results:
        grouped.setdefault(setting_of(result), []).append(result)
    return [_matrix(setting, group) for setting, group in grouped.items()]


def setting_of(result: MatchResult) -> Setting:
    """Return what a result shares with the others of its matrix."""
    matchup = result.matchup
    pool = f"{matchup.pool}:{matchup.pool_source}" if matchup.pool_source else matchup.pool
    victim = label(matchup.victim) + (f" #{matchup.victim_seed}" if matchup.victim_seed else "")
    return Setting(victim=victim, pool=pool, budget=matchup.budget)


def label(spec: Spec) -> str:
    """Return a player as a reader writes it: ``argmax(base=jbda)``, an entry by its folder's name."""
    inside = ", ".join(f"{key}={_shown(value)}" for key, value in spec.params)
    return _method_name(spec) + (f"({inside})" if inside else "")


def bare_label(spec: Spec) -> str:
    """Return a label with only names left in it: ``argmax(knockoff)``."""
    inside = ", ".join(bare_label(value) for _, value in spec.params if isinstance(value, Spec))
    return _method_name(spec) + (f"({inside})" if inside else "")


def attack_label(spec: Spec, *, informed: bool) -> str:
    """Return an attack, and whether it is told the defense."""
    return label(spec) + (" +informed" if informed else "")


def defense_label(spec: Spec, knowledge: Knowledge) -> str:
    """Return a defense with what it was let know beyond the least: two of the same name may know different things."""
    outliers = f"{knowledge.outliers}:{knowledge.outlier_source}" if knowledge.outlier_source else knowledge.outliers
    known = [word for word in (knowledge.surrogate, outliers) if word not in UNSAID]
    return label(spec) + "".join(f" +{word}" for word in known)


def _matrix(setting: Setting, results: Iterable[MatchResult]) -> PayoffMatrix:
    payoffs: dict[tuple[str, str], dict[int, float]] = {}
    own: dict[tuple[str, str], dict[int, float]] = {}
    cells: dict[tuple[str, str], list[MatchResult]] = {}
    specs: dict[str, Spec] = {}
    informed: set[str] = set()
    taken: dict[str, Hashable] = {}
    for result in results:
        matchup = result.matchup
        unsafe = (_unsafe(matchup.attack, result), _unsafe(matchup.defense, result))
        attack = attack_label(matchup.attack, informed=matchup.informed) + unsafe[0]
        attack = _apart(attack, ("attack", matchup.attack, matchup.informed, unsafe[0]), taken)
        defense = defense_label(matchup.defense, matchup.knowledge) + unsafe[1]
        defense = _apart(defense, ("defense", matchup.defense, matchup.knowledge, unsafe[1]), taken)
        specs |= {attack: matchup.attack, defense: matchup.defense}
        if matchup.informed:
            informed.add(attack)
        cells.setdefault((attack, defense), []).append(result)
        for scores, score in ((payoffs, payoff(result)), (own, own_score(result))):
            if score is not None:
                scores.setdefault((attack, defense), {})[matchup.seed] = score
    return PayoffMatrix(
        setting=setting,
        attacks=tuple(dict.fromkeys(attack for attack, _ in cells)),
        defenses=tuple(dict.fromkeys(defense for _, defense in cells)),
        specs=specs,
        informed=frozenset(informed),
        payoffs=payoffs,
        own=own,
        results={place: tuple(found) for place, found in cells.items()},
        images=min((total for found in cells.values() for one in found for total in _test_rows(one)), default=1),
    )


def _unsafe(player: Spec, result: MatchResult) -> str:
    """Return what a label says of an entry whose code ran without a sandbox."""
    return RAN_UNSAFE if UNSAFE in result.flags and _holds_an_entry(player) else ""


def _holds_an_entry(spec: Spec) -> bool:
    inside = [item for _, value in spec.params for item in (value if isinstance(value, tuple) else (value,))]
    return "/" in spec.name or any(_holds_an_entry(item) for item in inside if isinstance(item, Spec))


def _apart(shown: str, who: Hashable, taken: dict[str, Hashable]) -> str:
    """Return a label that no other player has: two entries in folders of the same name are numbered."""
    for number in itertools.count(1):
        found = shown if number == 1 else f"{shown} ({number})"
        if taken.setdefault(found, who) == who:
            return found
    raise AssertionError("counting does not end")


def _test_rows(result: MatchResult) -> list[int]:
    """Return the number of test rows on which each clone of a match was compared with the victim."""
    names = [clone_count(track, "fidelity") for track in (*TRACKS, "floor")]
    return [result.counts[name].total for name in names if name in result.counts and result.counts[name].total]


def _largest_fidelity(result: MatchResult, tracks: Iterable[Track]) -> float | None:
    """Return the largest fidelity of the tracks that there are, else the floor, None if the match is missing.

    Of an entry's own clone only the gain counts: what its control has above the floor is taken off.
    """
    if result.verdict.outcome == "infrastructure":
        return None
    shares = {track: largest_share(result, FIDELITIES, (track,)) for track in (*tracks, "floor")}
    floor = shares.pop("floor")
    found = [
        share - (brought_along(result) if track == "b" else 0.0) for track, share in shares.items() if share is not None
    ]
    return max(found, default=floor)


def brought_along(result: MatchResult) -> float:
    """Return the fidelity above the floor that an entry had before it asked anything; 0 without a control."""
    control, floor = result.counts.get(CONTROL), result.counts.get(clone_count("floor", "fidelity"))
    if control is None or floor is None or not (control.total and floor.total):
        return 0.0
    return max(0.0, control.share - floor.share)


def largest_share(result: MatchResult, counted: Iterable[CloneCount], tracks: Iterable[Track] = TRACKS) -> float | None:
    """Return the largest share of some counts over tracks, None if no clone has any of them."""
    named = [clone_count(track, what) for track, what in itertools.product(tracks, counted)]
    counts = [result.counts[name] for name in named if name in result.counts]
    return max((count.share for count in counts if count.total), default=None)


def pooled(results: Iterable[MatchResult], name: CountName) -> Count:
    """Return a count summed over the results that have it."""
    counts = [result.counts[name] for result in results if name in result.counts]
    return Count(sum(count.hits for count in counts), sum(count.total for count in counts))


def _method_name(spec: Spec) -> str:
    """Return an entry's folder name or a method's name, with its version where that is not the newest one."""
    if "/" in spec.name:
        return spec.name.rstrip("/").rsplit("/", 1)[-1]
    return spec.name if is_newest(spec) else spec.full_name


def _shown(value: Parameter) -> str:
    return label(value) if isinstance(value, Spec) else f"{value}"
