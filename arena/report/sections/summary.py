"""Section 1: what was played and found in five sentences, and how far to trust it."""

from __future__ import annotations

from arena.metrics.intervals import MIN_SEEDS
from arena.report.findings import Findings
from arena.report.rich_tables import counted
from arena.report.sections.story import Story
from arena.report.sheets import Section


def summary_section(story: Story) -> Section:
    """Return the sentences; the status line stands at the top of the page."""
    remarks = [_what_was_played(story)]
    for found in story.found:
        setting = story.setting(found)
        prefix = f"{setting[:1].upper()}{setting[1:]}: " if setting else ""
        remarks += [prefix + sentence for sentence in found.sentences if not sentence.startswith("No promise was")]
    remarks += [*_how_sure(story), *_what_is_missing(story)]
    return Section(
        key="summary",
        title="In short",
        decision="Is this worth reading, and can it be trusted?",
        remarks=tuple(remarks),
    )


def status(story: Story) -> str:
    """Return the state of the tournament in one line."""
    record, found = story.record, story.incidents
    failed = sum(len(one.seeds) for one in found.failed)
    parts = [f"{len(record.results):,} of {record.planned:,} matches have a result"]
    if record.left:
        parts.append(f"{record.left:,} {'is' if record.left == 1 else 'are'} missing")
    if failed:
        parts.append(f"{failed:,} did not end well")
    if found.not_finite:
        parts.append("some values are not finite")
    if record.problems:
        parts.append(counted(len(record.problems), "problem") + " with the run folder")
    state = "Complete" if len(parts) == 1 else "Incomplete" if record.left else "Complete, with reservations"
    return f"{state}: {'; '.join(parts)}."


def _what_was_played(story: Story) -> str:
    attacks = {row.attack.label for found in story.found for row in found.attacks}
    defenses = {one.label for found in story.found for one in found.defenses}
    victims = sorted({found.setting.victim for found in story.found})
    budgets = sorted({found.setting.budget for found in story.found})
    pools = sorted({found.setting.pool for found in story.found})
    return (
        f"{counted(len(attacks), 'attack')} played against {counted(len(defenses), 'defense')} of "
        f"{', '.join(victims)}, with {' or '.join(f'{budget:,}' for budget in budgets)} rows from the pool "
        f"{' or '.join(pools)}, on up to {counted(max(found.seeds for found in story.found), 'seed')}."
    )


def _how_sure(story: Story) -> list[str]:
    """Return what the intervals cover, each sentence once."""
    sentences = [how_sure(found) for found in story.found]
    return list(dict.fromkeys(sentences))


def _what_is_missing(story: Story) -> list[str]:
    """Return what follows from matches without a result, or nothing if there are none."""
    left = story.record.left
    if not left:
        return []
    return [
        f"Results are missing ({left:,} of {story.record.planned:,} matches) and take no part in any number above, so worst "
        "cases, ranks and comparisons may change when they are known."
    ]


def how_sure(found: Findings) -> str:
    """Return what the intervals of a setting cover, or why there are none."""
    if found.seeds < MIN_SEEDS:
        return (
            f"With {counted(found.seeds, 'seed')} there are no ranks and no tests: at least {MIN_SEEDS} seeds are needed. "
            "The values show what happened, not what would happen again."
        )
    return (
        f"Intervals hold with 95 % confidence over {counted(found.seeds, 'seed')}, for these {found.images:,} test images "
        "and this trained victim."
    )
