"""What every attack steals: tables from run folders, which `arena run` plays and `arena resume` goes on with.

``arena run benchmarks/tournaments/attacks-digits.toml --out runs/attacks-digits`` plays one; all of them are in
``benchmarks/tournaments``. ``python benchmarks/attacks.py runs/attacks-*`` prints a table for each victim, pool and
budget, how many rows each attack needs for a share of the victim's accuracy, what threats came of the clones, and which
classes were answered.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from arena.contracts import TRACKS, CountName, MatchResult, matchup_id
from arena.contracts.scores import ATTACK_CPU_SECONDS, ATTACK_STEPS
from arena.metrics.intervals import Interval, mean_interval
from arena.oracle.sqlite_ledger import read_transcript
from arena.payoff.comparison import Comparison, against_attack
from arena.payoff.matrix import PayoffMatrix, label, matrices, setting_of
from arena.referee.journal import read_journal

RANDOM, UNDEFENDED = ("knockoff", "uniform-noise"), "none"  # random rows of the pool, or of no pool
SHARES = (0.8, 0.9, 0.95)


def share(result: MatchResult, key: str) -> float | None:
    count = result.counts.get(CountName(key))
    return count.share if count and count.total else None


def over_seeds(results: Sequence[MatchResult], key: str) -> str:
    values = [value for result in results if (value := share(result, key)) is not None]
    return percent(mean_interval(values) if values else None)


def best(results: Sequence[MatchResult], kind: str) -> Interval | None:
    """Return mean and interval over seeds of the best track's fidelity or accuracy."""
    found = [[share(result, f"{track}/{kind}") for track in TRACKS] for result in results]
    values = [max(value for value in tracks if value is not None) for tracks in found if any(tracks)]
    return mean_interval(values) if values else None


def percent(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{100 * interval.mean:.1f}" + (f" ±{100 * interval.half:.1f}" if interval.half is not None else "")


def print_matrix(matrix: PayoffMatrix) -> None:
    """Print a row an attack; the family of the last column is the table, corrected by Holm."""
    terms = matrix.setting
    random = next((found for name in RANDOM if (found := matrix.named(name)) is not None), None)
    compared: dict[str, Comparison] = {}
    if random is not None:
        compared = {one.player: one for one in against_attack(matrix, random, UNDEFENDED)}
    everyone = [result for attack in matrix.attacks for result in matrix.results[attack, UNDEFENDED]]
    print(f"\n### {terms.victim}, pool {terms.pool}, {terms.budget:,} rows\n")
    print(f"Victim {over_seeds(everyone[:1], 'victim/accuracy')} % accurate.\n")
    columns = [f"{track} {kind}" for kind in ("fidelity", "accuracy") for track in ("A", "A-hard", "B")]
    head = ["attack", *columns, "CPU s", "steps", "rows", "distinct", "calls", "best - random", "told apart"]
    print("| " + " | ".join(head) + " |\n|---|" + "--:|" * (len(head) - 2) + "---|")
    order = sorted(matrix.attacks, key=lambda attack: -statistics.fmean(matrix.payoffs[attack, UNDEFENDED].values()))
    for attack in order:
        results = matrix.results[attack, UNDEFENDED]
        cells = [over_seeds(results, f"{track}/{kind}") for kind in ("fidelity", "accuracy") for track in TRACKS]
        cpu = statistics.fmean(result.measures[ATTACK_CPU_SECONDS] for result in results)
        steps = statistics.fmean(result.measures.get(ATTACK_STEPS, math.nan) for result in results)
        counts = [
            f"{statistics.fmean(getattr(result, name) for result in results):,.0f}"
            for name in ("rows", "distinct_rows", "calls")
        ]
        one = compared.get(attack)
        gain = "" if one is None else f"{100 * one.difference.mean:+.1f} ±{100 * (one.difference.half or 0):.1f}"
        told = "" if one is None else "yes" if one.distinct else "no"
        print(
            f"| {matrix.short(attack)} | "
            + " | ".join([*cells, f"{cpu:.1f}", f"{steps:,.0f}", *counts, gain, told])
            + " |"
        )


def print_needed(found: Sequence[PayoffMatrix]) -> None:
    """Print the smallest budget at which the mean of the best track reaches a share of the victim's accuracy."""
    by_place: dict[tuple[str, str], list[PayoffMatrix]] = defaultdict(list)
    for matrix in found:
        by_place[matrix.setting.victim, matrix.setting.pool].append(matrix)
    if all(len(group) < 2 for group in by_place.values()):
        return
    print("\n### Rows needed for a share of the victim's accuracy, among the budgets that were played\n")
    head = ["victim", "pool", "attack", *(f"{100 * one:.0f} %" for one in SHARES)]
    print("| " + " | ".join(head) + " |\n|---|---|---|" + "--:|" * len(SHARES))
    for (victim, pool), group in by_place.items():
        group.sort(key=lambda matrix: matrix.setting.budget)
        for attack in dict.fromkeys(attack for matrix in group for attack in matrix.attacks):
            played = [matrix for matrix in group if attack in matrix.attacks]
            if len({matrix.setting.budget for matrix in played}) < 2:
                continue
            reached = []
            for wanted in SHARES:
                budgets = [matrix.setting.budget for matrix in played if (best_share(matrix, attack) or 0.0) >= wanted]
                reached.append(f"{budgets[0]:,}" if budgets else f"> {played[-1].setting.budget:,}")
            print(f"| {victim} | {pool} | {played[-1].short(attack)} | " + " | ".join(reached) + " |")


def print_threats(found: Sequence[PayoffMatrix]) -> None:
    """Print what referees tried with finished clones: shares of images that fooled, or of classes that were found."""
    everyone = [result for matrix in found for cell in matrix.results.values() for result in cell]
    keys = list(dict.fromkeys(key for result in everyone for key in result.counts if key.startswith("threat/")))
    if not keys:
        return
    cells = [(matrix, attack) for matrix in found for attack in matrix.attacks]
    heads = [f"{matrix.short(attack)}, {matrix.setting.pool}, {matrix.setting.budget:,}" for matrix, attack in cells]
    print("\n### Threats with the clones\n\n| what | " + " | ".join(heads) + " |\n|---|" + "--:|" * len(heads))
    for key in keys:
        values = [over_seeds(matrix.results[attack, UNDEFENDED], key) for matrix, attack in cells]
        print(f"| {key.removeprefix('threat/')} | " + " | ".join(values) + " |")


def print_coverage(folder: Path) -> None:
    """Print how the answers to the attacks' own calls spread over the classes, mean over seeds."""
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
    for result in read_journal(folder):
        matchup, transcripts = result.matchup, sorted((folder / "transcripts").glob(f"{matchup_id(result.matchup)}-*"))
        answers = (
            [call.answer for call in read_transcript(transcripts[-1]).calls if not call.honest] if transcripts else []
        )
        if answers:
            posteriors = torch.cat([answer.posteriors[~answer.refused] for answer in answers])
            shares = posteriors.argmax(dim=1).bincount(minlength=posteriors.shape[1]).double() / len(posteriors)
            classes = float(torch.special.entr(shares).sum().exp())
            key = (label(matchup.attack), setting_of(result).pool, matchup.budget)
            found[key].append((float(shares.topk(2).values.sum()), classes))
    print(
        f"\n### Which classes were answered, {folder.name}\n\n| attack | pool | rows | two largest classes | ", end=""
    )
    print("classes, exp of the entropy |\n|---|---|--:|--:|--:|")
    for (attack, pool, budget), values in found.items():
        two, classes = (statistics.fmean(column) for column in zip(*values, strict=True))
        print(f"| {attack} | {pool} | {budget:,} | {100 * two:.0f} % | {classes:.1f} |")


def best_share(matrix: PayoffMatrix, attack: str) -> float | None:
    """Return the mean over seeds of the best track's accuracy over the victim's."""
    values = []
    for result in matrix.results.get((attack, UNDEFENDED), ()):
        clones = [found for track in TRACKS if (found := share(result, f"{track}/accuracy")) is not None]
        victim = share(result, "victim/accuracy")
        if clones and victim:
            values.append(max(clones) / victim)
    return statistics.fmean(values) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    arguments = parser.parse_args()
    if not arguments.folders:
        print("name run folders; the tournaments in benchmarks/tournaments take minutes to hours each")
    found = matrices(result for folder in arguments.folders for result in read_journal(folder))
    for matrix in found:
        print_matrix(matrix)
    print_needed(found)
    print_threats(found)
    for folder in arguments.folders:
        print_coverage(folder)


if __name__ == "__main__":
    main()
