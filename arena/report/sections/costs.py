"""Sections 3 and 8: protection against what it costs honest users, and what they notice."""

from __future__ import annotations

from arena.report.cells import HonestRow, ProtectionPoint
from arena.report.findings import Findings
from arena.report.pictures.scatters import protection_pictures
from arena.report.sections.story import Story
from arena.report.sentences import percent_and_range
from arena.report.sheets import Cell, Exhibit, Section, Sheet, estimate, heads, number, share, words


def protection_section(story: Story) -> Section:
    """Return protection against both cost axes, one point per setting of a defense, and the swept trade-offs."""
    exhibits = []
    for found in story.found:
        setting, name = story.setting(found), story.name("protection", found)
        exhibits.append(Exhibit(sheet=_points(found, name), pictures=protection_pictures(found, name), setting=setting))
        if found.swept:
            exhibits.append(Exhibit(sheet=_swept(found, story.name("swept", found)), setting=setting))
    return Section(
        key="protection",
        title="Protection against its cost",
        decision="Which setting can I pay for?",
        remarks=(
            "Honest users pay with decisions, where the defense changes the predicted class, and with probabilities, where "
            "it changes the released scores. A defense is worth considering if no other one is both lower and further left. Points "
            "at the same place are drawn side by side.",
        ),
        exhibits=tuple(exhibits),
    )


def _points(found: Findings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Protection and cost of each defense",
        caption=(
            "Fidelity: in the worst case over attacks, %, with its 95 % interval. Lost: points of accuracy that honest users "
            "lose, refusals counted as wrong, with half the width of the 95 % interval. L1: mean shift of honest posteriors, "
            "from 0 to 2. Accuracies: of honest answers and, on test rows, of the best clone, %."
        ),
        heads=heads("defense", numbers=("fidelity", "lost", "L1", "honest accuracy", "clone accuracy"))
        + heads("worst attack"),
        rows=tuple(_point(one) for one in found.protection),
    )


def _point(one: ProtectionPoint) -> tuple[Cell, ...]:
    return (
        words(one.defense.name, marks=() if one.ranked else ("leak",), note="" if one.ranked else "not ranked"),
        estimate(one.fidelity),
        lost(one),
        number(one.cost.l1, "{:.2f}"),
        share(one.defended),
        estimate(one.clone) if one.clone else words("", note="no clone was scored on labels"),
        words(one.worst_attack),
    )


def lost(one: ProtectionPoint | HonestRow) -> Cell:
    """Return the accuracy that honest users lose, in points, with its uncertainty."""
    cost = one.cost
    note = f"95 % interval {100 * cost.low:.1f} to {100 * cost.high:.1f} points"
    if cost.images is None:
        note += ", conservative because outcomes by image were not recorded"
    return Cell(text=f"{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}", value=cost.decisions, note=note)


def _swept(found: Findings, name: str) -> Sheet:
    rows = []
    for swept in found.swept:
        for point, attack in zip(swept.curve.points, swept.best_attacks, strict=True):
            rows.append(
                (
                    words(swept.curve.defense),
                    words(f"{swept.curve.parameter} = {point.value:g}"),
                    share(point.defended),
                    number(point.l1, "{:.2f}"),
                    estimate(point.clone),
                    words(attack),
                )
            )
    least = [
        f"{swept.curve.defense}: "
        + "; ".join(
            f"{percent_and_range(one.clone)} "
            f"({'undefended' if one.value is None else f'{swept.curve.parameter} = {one.value:g}'}) "
            f"if honest users may lose {100 * one.allowed:g} points"
            for one in swept.least
        )
        for swept in found.swept
    ]
    return Sheet(
        name=name,
        title="Trade-off of each swept defense",
        caption=(
            "Accuracy, %, of honest answers and of the best attack's best clone; its interval accounts for the selection of "
            f"the attack. Lowest clone accuracy, {'. '.join(least)}."
        ),
        heads=heads("defense", "value", numbers=("honest accuracy", "L1", "clone accuracy")) + heads("best attack"),
        rows=tuple(rows),
    )


def honest_section(story: Story) -> Section:
    """Return what honest users notice of each defense."""
    return Section(
        key="honest",
        title="What honest users notice",
        decision="Will my users accept it?",
        remarks=(
            "Honest users query the same deployed defense while it is under attack. Latency is the time in which the oracle "
            "answers a call and records it, without the network, on the machine that played; compare it with that of the "
            "undefended victim.",
        ),
        exhibits=tuple(
            Exhibit(sheet=_honest(found, story.name("honest", found)), setting=story.setting(found))
            for found in story.found
            if found.honest
        ),
    )


def _honest(found: Findings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Decisions, refusals and calibration on honest traffic",
        caption=(
            "Lost: points of accuracy. Flipped and refused: % of honest rows. Calibration error: expected calibration error, "
            "%, with the defense and, in brackets, without it on the same rows. Brier: how much the Brier score rises. L1: "
            "mean and largest shift of the posteriors. p50 and p95: latency of honest calls, ms. Attack refused: % of the attacks' "
            "rows. Means over all matches of a defense."
        ),
        heads=heads(
            "defense",
            numbers=(
                "rows",
                "lost",
                "flipped",
                "refused",
                "calibration error",
                "Brier",
                "mean L1",
                "largest L1",
                "p50",
                "p95",
                "attack refused",
            ),
        ),
        rows=tuple(_honest_row(one) for one in found.honest),
    )


def _honest_row(one: HonestRow) -> tuple[Cell, ...]:
    clean = "" if one.calibration_clean is None else f" ({100 * one.calibration_clean:.1f})"
    calibration = share(one.calibration)
    return (
        words(one.defense.name),
        number(one.cost.rows),
        lost(one),
        share(one.cost.changed / one.cost.rows, digits=2),
        share(one.refused, digits=2),
        Cell(text=calibration.text + clean, value=calibration.value),
        number(one.brier_cost, "{:+.3f}"),
        number(one.cost.l1, "{:.2f}"),
        number(one.largest_shift, "{:.2f}"),
        _milliseconds(one.p50),
        _milliseconds(one.p95),
        share(one.attack_refused, digits=2),
    )


def _milliseconds(seconds: float | None) -> Cell:
    if seconds is None:
        return number(None, note="not recorded by the version that played")
    return number(1_000 * seconds, "{:.2f}")
