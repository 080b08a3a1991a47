"""Sections 7 and 10: what defenses knew and whether that leaks, and everything that went wrong."""

from __future__ import annotations

from arena.report.cells import AuditRow
from arena.report.findings import Findings
from arena.report.incidents import Incident
from arena.report.promises import BrokenPromise
from arena.report.sections.story import Story
from arena.report.sheets import Cell, Exhibit, Section, Sheet, heads, number, p_value, share, words

SEEDS_SHOWN = 12


def knowledge_section(story: Story) -> Section:
    """Return what each defense was given, and the referee's audit of it."""
    return Section(
        key="knowledge",
        title="Knowledge and leaks",
        decision="Would this defense work without knowing what the attack will query?",
        remarks=(
            "A defense that trains on outliers close to the attack's queries looks better than it would in service. The "
            "referee tests this; a defense with a leak is marked and takes no part in ranks, worst cases or headlines.",
        ),
        exhibits=tuple(
            Exhibit(sheet=_audits(found, story.name("knowledge", found)), setting=story.setting(found))
            for found in story.found
        ),
    )


def _audits(found: Findings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title="What each defense was given, and the audit",
        caption=(
            "Overlap: % of the outliers that are rows of the pool. p: the largest p-value of the hypothesis that outliers and "
            "pool have the same distribution. Power: the smallest power of that test, %. Copies: the largest number of "
            "outliers that are near copies of a row of the pool."
        ),
        heads=heads("defense", "knew", "audit", numbers=("overlap", "p", "power", "copies")),
        rows=tuple(_audit(one) for one in found.audits),
    )


def _audit(one: AuditRow) -> tuple[Cell, ...]:
    return (
        words(one.defense.name),
        words(", ".join(one.knew) or "nothing"),
        words(one.verdict, marks=("leak",) if one.verdict == "leak" else ()),
        share(one.overlap),
        words("") if one.p_value is None else p_value(one.p_value),
        share(one.power, digits=0),
        number(one.copies),
    )


def incident_section(story: Story) -> Section:
    """Return all incidents of the tournament, and what follows from each."""
    found = story.incidents
    kinds = (
        ("missing", "Matches without a result", found.missing),
        ("failed", "Matches that did not end well", found.failed),
        ("early", "Attacks that stopped early", found.stopped_early),
        ("not-finite", "Values that are not finite", found.not_finite),
        ("flags", "Flags", found.flagged),
    )
    exhibits = [Exhibit(sheet=_incidents(name, title, rows)) for name, title, rows in kinds if rows]
    for one in story.found:
        if one.broken_promises:
            exhibits.append(
                Exhibit(sheet=_promises(one.broken_promises, story.name("promises", one)), setting=story.setting(one))
            )
    return Section(
        key="incidents",
        title="What went wrong",
        decision="What has to be known before numbers are compared?",
        remarks=tuple(_remarks(story)),
        exhibits=tuple(exhibits),
    )


def _remarks(story: Story) -> list[str]:
    record, found = story.record, story.incidents
    remarks = list(record.problems)
    if record.unnamed:
        remarks.append(f"{record.unnamed:,} planned matches have no result and cannot be named; they are in no table.")
    if record.left and record.folder is not None:
        remarks.append(f"Play the missing matches: arena resume {record.folder.name}")
    if not found.failed:
        remarks.append("Every match that has a result completed.")
    checked = sum(one.promises_checked for one in story.found)
    if checked and not any(one.broken_promises for one in story.found):
        remarks.append(f"No promise was broken, checked {checked:,} times on rows as they were sent.")
    if not found.stopped_early:
        remarks.append("Every attack that completed spent its whole budget.")
    return remarks


def _incidents(name: str, title: str, rows: tuple[Incident, ...]) -> Sheet:
    return Sheet(
        name=name,
        title=title,
        caption="One row per attack, defense, budget and kind, with the seeds concerned.",
        heads=heads("attack", "defense", numbers=("rows", "matches")) + heads("seeds", "what happened", "what follows"),
        rows=tuple(
            (
                words(one.attack),
                words(one.defense),
                number(one.budget),
                number(len(one.seeds)),
                words(_seeds(one.seeds)),
                words(one.what),
                words(one.consequence),
            )
            for one in rows
        ),
        for_paper=False,
    )


def _seeds(seeds: tuple[int, ...]) -> str:
    more = len(seeds) - SEEDS_SHOWN
    return ", ".join(map(str, seeds[:SEEDS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _promises(broken: tuple[BrokenPromise, ...], name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Broken promises",
        caption="Rows as they were sent on which a defense broke what it promises.",
        heads=heads("defense", "promise", numbers=("broken", "checked")),
        rows=tuple(
            (words(one.defense.name), words(one.promise), number(one.broken.hits), number(one.broken.total))
            for one in broken
        ),
    )
