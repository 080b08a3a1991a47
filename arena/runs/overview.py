"""What MLflow shows on the page of a tournament: the findings, tables, figures and page of its report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from arena.contracts import MatchResult
from arena.report.columns import Value, columns_of
from arena.report.document import document
from arena.report.findings import Findings
from arena.report.markdown import escaped, table_parts
from arena.report.page.writing import REPORT_HTML
from arena.report.pictures.picture import svg
from arena.report.sections.matches import MATCHES
from arena.report.sections.story import Story
from arena.report.sections.summary import status
from arena.report.sheets import NOT_FINITE, Cell, Section, Sheet
from arena.tracking.flattening import LONGEST_TAG
from arena.tracking.overview import Entry, Overview, Table

PARAGRAPH = "\n\n"


def overview_of(story: Story, page: str) -> Overview:
    """Return the overview of a tournament; ``page`` is its report as HTML. Every figure is one of the findings."""
    sections = document(story)
    pictures = [
        picture for section in sections for exhibit in section.exhibits for picture in exhibit.pictures
    ]  # fmt: skip
    sheets = [exhibit.sheet for section in sections for exhibit in section.exhibits if exhibit.sheet.name != MATCHES]
    return Overview(
        description=_description(story, sections),
        metrics=dict(_metrics(story)),
        tables={MATCHES: _matches(story.record.results)} | {sheet.name: _table(sheet) for sheet in sheets},
        files={REPORT_HTML: page} | {f"figures/{one.name}.svg": svg(one) for one in pictures},
    )


def _description(story: Story, sections: Sequence[Section]) -> str:
    """Return the status, the sentences and, as far as there is room, the payoff matrices in Markdown."""
    summary, matrix = sections[0], sections[1]
    parts = [f"**{escaped(status(story))}**", "\n".join(f"- {escaped(remark)}" for remark in summary.remarks)]
    parts.append(f"Artifacts: `{REPORT_HTML}` (the report), `tables/`, `figures/`, `tournament.toml`.")
    for exhibit in matrix.exhibits:
        more = table_parts(exhibit) if exhibit.sheet.heat else []
        if len(PARAGRAPH.join([*parts, *more])) <= LONGEST_TAG:
            parts += more
    return _fitting(PARAGRAPH.join(parts))


def _fitting(text: str) -> str:
    """Return as many whole lines of a text as a description can have, and say so if that is not all."""
    if len(text) <= LONGEST_TAG:
        return text
    more = f"... and more: see the artifact `{REPORT_HTML}`."
    kept = text[: LONGEST_TAG - len(more) - len(PARAGRAPH)].rpartition("\n")[0]
    return f"{kept}{PARAGRAPH}{more}"


def _metrics(story: Story) -> Iterator[tuple[tuple[str, int], float]]:
    """Yield the headline figures by name and step, which is the budget, so that budgets share a chart."""
    counted = {
        "matches": len(story.record.results),
        "matches missing": story.record.left,
        "matches failed": sum(len(one.seeds) for one in story.incidents.failed),
    }
    yield from (((name, 0), float(value)) for name, value in counted.items())
    several = len({(found.setting.victim, found.setting.pool) for found in story.found}) > 1
    for found in story.found:
        where = f"{found.setting.victim}, {found.setting.pool}/" if several else ""
        for name, value in _headlines(found):
            yield (where + _plain(name), found.setting.budget), value


def _headlines(found: Findings) -> Iterator[tuple[str, float]]:
    """Yield shares: what the worst attack gets of each defense, what that costs, and each attack's own score."""
    if found.equilibrium is not None:
        yield "equilibrium", found.equilibrium.value
    for defense, worst in zip(found.defenses, found.worst_cases[0].cells, strict=True):
        if worst is not None:
            yield f"worst_case/{defense.name}", worst.interval.mean
    for row in found.honest:
        yield f"accuracy_lost/{row.defense.name}", float(row.cost.decisions)
    for attack in found.attacks:
        if attack.own is not None:
            yield f"own_score/{attack.attack.name}", attack.own.mean


def _plain(name: str) -> str:
    """Return a name without brackets, which MLflow does not allow in the name of a metric."""
    return name.replace("(", " ").replace(")", "").replace(", ", " ")


def _matches(results: Sequence[MatchResult]) -> Table:
    columns = columns_of(results)
    rows = tuple(tuple(_entry(column.of(result)) for column in columns) for result in results)
    return Table(columns=tuple(column.name for column in columns), rows=rows)


def _entry(value: Value) -> Entry:
    return NOT_FINITE if isinstance(value, float) and not math.isfinite(value) else value


def _table(sheet: Sheet) -> Table:
    return Table(
        columns=tuple(head.text for head in sheet.heads),
        rows=tuple(tuple(map(_shown, row)) for row in itertools.chain(sheet.rows, sheet.foot)),
    )


def _shown(cell: Cell) -> Entry:
    """Return what a cell shows, as a number if it is nothing but one."""
    try:
        number = float(cell.text.replace(",", ""))
    except ValueError:
        return cell.text
    return number if math.isfinite(number) else cell.text
