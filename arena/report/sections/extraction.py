"""Sections 5, 6 and 9: rows that an attack needs, the three tracks, and what a clone is good for."""

from __future__ import annotations

from arena.report.cells import TrackRow
from arena.report.findings import Findings
from arena.report.pictures.curves import query_picture
from arena.report.pictures.rows import track_picture
from arena.report.queries import TARGETS, RowsToReach
from arena.report.sections.story import Rates, Story
from arena.report.sheets import Cell, Exhibit, Section, Sheet, estimate, heads, share, words
from arena.report.threat_rows import ThreatFindings

BEYOND = 10**12  # sorts what was not reached after every number of rows


def query_section(story: Story) -> Section:
    """Return fidelity over queries, and the rows that it takes to reach a share of the victim's accuracy."""
    exhibits = []
    for found in story.found:
        if found.queries:
            picture = query_picture(found, story.name("queries", found))
            if picture:
                sheet = _curves(found, story.name("query-table", found))
                exhibits.append(Exhibit(sheet=sheet, pictures=(picture,), setting=story.setting(found)))
            sheet = _rows_to_reach(found, story.name("rows", found), story.rates)
            exhibits.append(Exhibit(sheet=sheet, setting=story.setting(found)))
    measured = any(len(curve.points) > 1 for found in story.found for curve in found.queries)
    remarks = ["Only the numbers of rows at which clones were scored are known, so each entry is an upper limit."]
    if not measured:
        remarks.append(
            "Clones were scored at the end only; set curve = [50, 100] in the tournament to score them earlier."
        )
    if story.rates.rows_per_day is None and story.rates.price is None:
        remarks.append("With --rows-per-day and --price, arena report turns rows into days and money.")
    return Section(
        key="queries",
        title="Rows that an attack needs",
        decision="Which query quota helps?",
        remarks=tuple(remarks),
        exhibits=tuple(exhibits),
    )


def _curves(found: Findings, name: str) -> Sheet:
    places = sorted({point.rows for curve in found.queries for point in curve.points})
    rows = []
    for curve in found.queries:
        points = {point.rows: point for point in curve.points}
        values = (estimate(points[place].fidelity) if place in points else words("") for place in places)
        rows.append((words(curve.attack.name), words(curve.defense.name), *values))
    return Sheet(
        name=name,
        title="Fidelity over queries, %",
        caption="Fidelity of the referee's clone (track A) on the first rows of the transfer set, a mean over seeds.",
        heads=heads("attack", "defense", numbers=[f"{place:,} rows" for place in places]),
        rows=tuple(rows),
    )


def _rows_to_reach(found: Findings, name: str, rates: Rates) -> Sheet:
    return Sheet(
        name=name,
        title="Rows until a clone is as accurate as a share of the victim",
        caption=(
            "Median over seeds of the smallest measured number of rows with which the referee's clone (track A) reaches the "
            "share of the victim's accuracy on test rows; in brackets the smallest and the largest over seeds, which is no "
            "confidence interval. > means that this many rows were not enough." + _of_rates(rates)
        ),
        heads=heads("attack", "defense", numbers=[f"{100 * target:g} % of the victim" for target in TARGETS]),
        rows=tuple(
            (words(curve.attack.name), words(curve.defense.name), *(_reached(one, rates) for one in curve.reach))
            for curve in found.queries
        ),
    )


def _of_rates(rates: Rates) -> str:
    parts = []
    if rates.rows_per_day is not None:
        parts.append(f"days at {rates.rows_per_day:,g} rows per day")
    if rates.price is not None:
        parts.append(f"cost at {rates.price:g} per row")
    return f" Then {' and '.join(parts)}." if parts else ""


def _reached(one: RowsToReach, rates: Rates) -> Cell:
    median, least, largest = one.median, one.least, one.largest
    note = f"reached on {one.reached} of {len(one.rows)} seeds"
    beyond = f"> {one.most:,}"
    if median is None:
        ends = "" if least is None else f" ({least:,} to {beyond})"
        return Cell(text=beyond + ends + _in_units(one.most, rates, "> "), value=BEYOND + one.most, note=note)
    upper = beyond if largest is None else f"{largest:,}"
    ends = "" if least == largest else f" ({least:,} to {upper})"
    return Cell(text=f"{median:,}{ends}{_in_units(median, rates, '')}", value=median, note=note)


def _in_units(rows: int, rates: Rates, sign: str) -> str:
    parts = []
    if rates.rows_per_day is not None:
        parts.append(f"{sign}{rows / rates.rows_per_day:,.2g} days")
    if rates.price is not None:
        parts.append(f"{sign}{rows * rates.price:,.2f}")
    return f"; {', '.join(parts)}" if parts else ""


def track_section(story: Story) -> Section:
    """Return the three tracks of each cell."""
    exhibits = []
    for found in story.found:
        picture = track_picture(found, story.name("tracks", found))
        exhibits.append(
            Exhibit(
                sheet=_tracks(found, story.name("track-table", found)),
                pictures=(picture,) if picture else (),
                setting=story.setting(found),
            )
        )
    return Section(
        key="tracks",
        title="Three clones of each match",
        decision="Did the defense spoil the answers, or only the way in which this attack trains?",
        remarks=(
            "B is the attack's own clone. A is trained by the referee on the same answers, and A-hard on their predicted "
            "classes alone, which every attacker can do. If B is far below A or A-hard, a better attack would undo the "
            "defense.",
        ),
        exhibits=tuple(exhibits),
    )


def _tracks(found: Findings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title="Fidelity of tracks A, A-hard and B, %",
        caption="Fidelity to the undefended victim, a mean over seeds with half the width of its 95 % interval.",
        heads=heads("attack", "defense", numbers=("A", "A-hard", "B")),
        rows=tuple(_track_row(row) for row in found.tracks),
    )


def _track_row(row: TrackRow) -> tuple[Cell, ...]:
    clones = (estimate(one) if one else words("", note="no clone of this track") for one in (row.a, row.a_hard, row.b))
    return (words(row.attack.name), words(row.defense.name), *clones)


def threat_section(story: Story) -> Section:
    """Return what threats achieve with the clones, beside their controls."""
    exhibits = tuple(
        Exhibit(sheet=_threat(threat, f"{story.name('threat', found)}-{place}"), setting=story.setting(found))
        for found in story.found
        for place, threat in enumerate(found.threats)
    )
    remarks = ('No threat was tried; add threats = ["evasion"] to the tournament.',) if not exhibits else ()
    return Section(
        key="threats",
        title="What a clone is good for",
        decision="What could an attacker do with the clone, and would it work without one?",
        remarks=remarks or ("A rate is meaningful only above its control, which does not use the clone.",),
        exhibits=exhibits,
    )


def _threat(threat: ThreatFindings, name: str) -> Sheet:
    return Sheet(
        name=name,
        title=f"Threat {threat.threat}, %",
        caption="Shares of what the threat counts, pooled over seeds; arena list NAME explains them.",
        heads=heads("attack", "defense", numbers=threat.counted),
        rows=tuple(
            (words(row.attack.name), words(row.defense.name), *(share(one) for one in row.shares))
            for row in threat.rows
        ),
    )
