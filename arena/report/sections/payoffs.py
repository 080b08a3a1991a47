"""Sections 2 and 4: the payoff matrix, and the rankings by division."""

from __future__ import annotations

from dataclasses import replace

from arena.metrics.intervals import Interval
from arena.metrics.rank_intervals import RankInterval
from arena.report.effects import Advantage, Effect
from arena.report.findings import DefenseRow, Findings, WorstCases
from arena.report.payoff_tables import FLOOR_ROW
from arena.report.pictures.heat import heat_picture
from arena.report.pictures.rows import attack_rank_picture, defense_rank_picture, told_rank_picture
from arena.report.players import Player
from arena.report.sections.story import Story
from arena.report.sections.summary import how_sure
from arena.report.sentences import YARDSTICK_DEFENSE, of_ranks, points
from arena.report.sheets import (
    MISSING,
    Cell,
    Exhibit,
    Head,
    Section,
    Sheet,
    estimate,
    heads,
    number,
    p_value,
    share,
    words,
)


def matrix_section(story: Story) -> Section:
    """Return the payoff matrix of each setting, and what each defense changes for each attack."""
    exhibits = []
    for found in story.found:
        setting = story.setting(found)
        name = story.name("matrix", found)
        exhibits.append(Exhibit(sheet=_matrix(found, name), pictures=(heat_picture(found, name),), setting=setting))
        if found.effects:
            exhibits.append(Exhibit(sheet=_effects(found.effects, story.name("effects", found)), setting=setting))
        if found.advantages:
            sheet = _advantages(found.advantages, story.name("advantages", found))
            exhibits.append(Exhibit(sheet=sheet, setting=setting))
    return Section(
        key="matrix",
        title="Who extracts how much",
        decision="Which defense should I use, and which attack breaks it?",
        remarks=(
            "A cell is the fidelity of the best clone of a match: the share of test inputs on which it decides like the "
            "undefended victim, as a mean over seeds. A low number is good for the owner of the model. An outline marks the "
            "worst case of a defense. Hatching marks cells in which no significant difference from the undefended victim "
            "was found, so the defense may not have helped against this attack.",
        ),
        exhibits=tuple(exhibits),
    )


def _matrix(found: Findings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Fidelity of the best clone, %",
        caption=(
            f"{how_sure(found)} Columns are defenses; * marks the yardsticks, random queries among attacks and "
            f"{YARDSTICK_DEFENSE} among defenses. Own is the fidelity of the attack's own clone, a mean over defenses. The "
            "last rows give the worst case of each defense with its interval, and the fidelity of a clone without queries."
        ),
        heads=(
            Head(text="attack"),
            *(Head(text=_name(one), numeric=True) for one in found.defenses),
            Head(text="own", numeric=True),
            Head(text="rank", numeric=True),
            Head(text="training steps", numeric=True),
        ),
        rows=tuple(
            (
                words(_name(row.attack), marks=("yardstick",) if row.attack.yardstick else ()),
                *(
                    _shaded(found, cell, marks=_marks(found, row.attack.label, column))
                    for column, cell in enumerate(row.cells)
                ),
                estimate(row.own) if row.own else words(""),
                _rank(row.ranks),
                number(row.steps),
            )
            for row in found.attacks
        ),
        foot=(*(_worst(one) for one in found.worst_cases), _floor(found), *_equilibrium(found)),
        heat=True,
        legend=_of_shades(found),
    )


def _name(player: Player) -> str:
    return player.name + (" *" if player.yardstick else "")


def _shaded(found: Findings, interval: Interval | None, *, marks: tuple[str, ...]) -> Cell:
    """Return a cell whose shade runs from the lowest mean of the matrix to the highest."""
    if interval is None:
        return estimate(None)
    low, high = min(found.means), max(found.means)
    return replace(estimate(interval, marks=marks), shade=(interval.mean - low) / (high - low) if high > low else 0.0)


def _of_shades(found: Findings) -> str:
    if not found.means:
        return ""
    low, high = min(found.means), max(found.means)
    return f"The lightest shade is {100 * low:.1f} % and the darkest {100 * high:.1f} %."


def _marks(found: Findings, attack: str, column: int) -> tuple[str, ...]:
    marks = ("worst",) * found.is_worst(attack, column)
    return (*marks, *("undecided",) * ((attack, found.defenses[column].label) in found.undecided))


def _worst(worst: WorstCases) -> tuple[Cell, ...]:
    name = f"worst case, {worst.over}" if worst.over else "worst case"
    cells = tuple(estimate(one.interval if one else None) for one in worst.cells)
    return (words(name), *cells, words(""), words(""), words(""))


def _floor(found: Findings) -> tuple[Cell, ...]:
    floors = (share(floor) for floor in found.floors)
    return (words(FLOOR_ROW), *floors, words(""), words(""), words(""))


def _equilibrium(found: Findings) -> list[tuple[Cell, ...]]:
    mixed = found.equilibrium
    if mixed is None:
        return []
    shares = tuple(share(mixed.defenses.get(one.label), digits=0) for one in found.defenses)
    note = f"The defender's mixed strategy, which is worth {100 * mixed.value:.1f} %."
    return [(words("equilibrium, share", note=note), *shares, words(""), words(""), words(""))]


def _effects(effects: tuple[Effect, ...], name: str) -> Sheet:
    return Sheet(
        name=name,
        title="What each defense changes for each attack",
        caption=(
            "Difference in fidelity from the undefended victim, in points, paired by seed, with its 95 % interval. p: paired "
            "t test; significant: after Holm's correction over the defenses that an attack meets, at a family-wise level "
            "of 5 %. Effect size: the mean difference in standard deviations over seeds (Cohen's d)."
        ),
        heads=heads("attack", "defense", numbers=("difference", "95 %", "p", "effect size", "significant")),
        rows=tuple((words(one.attack.name), words(one.defense.name), *_tested(one)) for one in effects),
    )


def _advantages(found: tuple[Advantage, ...], name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Attacks compared with random queries, on the undefended victim",
        caption=(
            "As above; the family is that of all attacks. Without significance, an attack cannot be distinguished from random "
            "queries with these seeds."
        ),
        heads=heads("attack", numbers=("difference", "95 %", "p", "effect size", "significant")),
        rows=tuple((words(one.attack.name), *_tested(one)) for one in found),
    )


def _tested(one: Effect | Advantage) -> tuple[Cell, ...]:
    low, high = one.difference.low, one.difference.high
    ends = "-" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    tested = low is not None
    return (
        number(100 * one.difference.mean, "{:+.1f}"),
        words(ends),
        p_value(one.p_value) if tested else words("", note="too few seeds for a test"),
        number(one.size, "{:+.1f}"),
        words("yes" if one.distinct else "no") if tested else words("", note="too few seeds for a test"),
    )


def ranking_section(story: Story) -> Section:
    """Return the defenses by division and class with their rank intervals, blind and informed worst cases apart."""
    exhibits = []
    for found in story.found:
        for sheet, pictures in (
            (
                _ranking(found, story.name("divisions", found)),
                (
                    defense_rank_picture(found, story.name("ranks", found)),
                    told_rank_picture(found, story.name("ranks-told", found)),
                ),
            ),
            (_attacks(found, story.name("attacks", found)), (attack_rank_picture(found, story.name("own", found)),)),
        ):
            drawn = tuple(picture for picture in pictures if picture is not None)
            exhibits.append(Exhibit(sheet=sheet, pictures=drawn, setting=story.setting(found)))
    return Section(
        key="divisions",
        title="Rankings by division",
        decision="Which defenses are the best that I can afford, and which differences are real?",
        remarks=(
            "A division is how many decisions of honest users a defense may change: none, up to 1 or 5 points of accuracy, "
            "or more. Within a division, defenses whose rank intervals overlap cannot be separated with these seeds.",
        ),
        exhibits=tuple(exhibits),
    )


def _ranking(found: Findings, name: str) -> Sheet:
    told = [worst for worst in found.worst_cases if worst.over]
    places = {one.label: place for place, one in enumerate(found.defenses)}

    def row(group: str, one: DefenseRow) -> tuple[Cell, ...]:
        place = places[one.defense.label]
        return (
            words(group),
            words(_name(one.defense), marks=("leak",) if one.leak else ()),
            _rank(one.standing.ranks),
            estimate(one.standing.worst_case.interval),
            words(one.worst_attack),
            *(cell for worst in told for cell in (_told_rank(found, worst.over, one), _told_case(worst, place))),
        )

    resolved = "; ".join(
        f"{points(one.group.resolved)} in {one.group.division}, {one.group.score_class}"
        for one in found.groups
        if one.group.resolved is not None
    )
    return Sheet(
        name=name,
        title="Defenses by division and class",
        caption=(
            "Worst case: the largest mean fidelity over attacks, in %, with the attack. "
            + (f"Rank: {of_ranks(resolved)}." if resolved else "There are too few seeds, or no differences, for ranks.")
            + (" The ranks over blind and over informed attacks have columns of their own." if told else "")
            + ("" if told else " Only one kind of attack was played, so blind and informed attacks cannot be compared.")
        ),
        heads=heads("division", "defense", numbers=("rank", "worst case"))
        + heads("worst attack", numbers=tuple(name for worst in told for name in (f"{worst.over} rank", worst.over))),
        rows=(
            *(row(f"{one.group.division}, {one.group.score_class}", each) for one in found.groups for each in one.rows),
            *(row(f"not ranked: {each.not_ranked}", each) for each in found.set_apart),
            *_without_standing(found, 5 + 2 * len(told)),
        ),
    )


def _attacks(found: Findings, name: str) -> Sheet:
    resolved = found.ranked_attacks.resolved
    return Sheet(
        name=name,
        title="Attacks by their own clones",
        caption="Fidelity of the clone that the attack returned, %, a mean over defenses. "
        + (f"Rank: {of_ranks(points(resolved))}." if resolved is not None else "There are too few seeds for ranks."),
        heads=heads("attack", numbers=("rank", "own", "training steps")),
        rows=tuple(
            (
                words(_name(row.attack)),
                _rank(row.ranks),
                estimate(row.own) if row.own else words("", note="It did not meet every defense."),
                number(row.steps),
            )
            for row in found.attacks
        ),
    )


def _told_rank(found: Findings, over: str, row: DefenseRow) -> Cell:
    """Return the rank interval of a defense within its division, against blind or informed attacks alone."""
    (told,) = (one for one in found.told_ranks if one.over == over)
    standing = told.standings.get(row.defense.label)
    return _rank(standing.ranks if standing else None)


def _told_case(worst: WorstCases, place: int) -> Cell:
    case = worst.cells[place]
    return estimate(case.interval if case else None)


def _rank(ranks: RankInterval | None) -> Cell:
    return Cell(text="-" if ranks is None else str(ranks), value=ranks.first if ranks else None)


def _without_standing(found: Findings, columns: int) -> list[tuple[Cell, ...]]:
    """Return a row for each defense that has neither a rank nor a reason: its cost or its worst case is unknown."""
    placed = {row.defense.label for one in found.groups for row in one.rows}
    placed |= {row.defense.label for row in found.set_apart}
    rest = [one for one in found.defenses if one.label not in placed]
    note = "No honest traffic was recorded, or its attacks have no seed in common."
    return [
        (
            words("not ranked: incomplete", note=note),
            words(_name(one)),
            *(words(MISSING, note=note) for _ in range(columns - 2)),
        )
        for one in rest
    ]
