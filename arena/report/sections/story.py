"""A tournament with everything that its report needs, computed once: the input of every section."""

from __future__ import annotations

from dataclasses import dataclass, field

from arena.report.findings import Findings, findings
from arena.report.incidents import Incidents, incidents
from arena.report.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a reader adds about their own service, to turn rows into time and money; None: not given."""

    rows_per_day: float | None = None
    price: float | None = None  # for one row, in whatever currency


@dataclass(frozen=True, kw_only=True)
class Story:
    """The record of a run with its findings, one per combination of victim, pool and budget, and its incidents."""

    record: RunRecord
    found: tuple[Findings, ...]
    incidents: Incidents
    rates: Rates = field(default_factory=Rates)

    def setting(self, found: Findings) -> str:
        """Return the words that name a setting, empty if there is only one."""
        return found.setting.words if len(self.found) > 1 else ""

    def name(self, kind: str, found: Findings) -> str:
        """Return the name of a table or a figure, unique in the report."""
        return kind if len(self.found) == 1 else f"{kind}-{self.found.index(found) + 1}"


def story_of(record: RunRecord, rates: Rates | None = None) -> Story:
    """Return the story of a run."""
    return Story(
        record=record,
        found=tuple(findings(record.results)),
        incidents=incidents(record),
        rates=rates or Rates(),
    )
