"""The report as a list of sections, in the order in which a reader needs them."""

from __future__ import annotations

from arena.report.sections.costs import honest_section, protection_section
from arena.report.sections.extraction import query_section, threat_section, track_section
from arena.report.sections.matches import match_section
from arena.report.sections.methods import method_section
from arena.report.sections.payoffs import matrix_section, ranking_section
from arena.report.sections.reproduce import reproduce_section
from arena.report.sections.story import Story
from arena.report.sections.summary import summary_section
from arena.report.sections.trust import incident_section, knowledge_section
from arena.report.sheets import Section

SECTIONS = (
    summary_section,
    matrix_section,
    protection_section,
    ranking_section,
    query_section,
    track_section,
    knowledge_section,
    honest_section,
    threat_section,
    incident_section,
    match_section,
    method_section,
    reproduce_section,
)


def document(story: Story) -> list[Section]:
    """Return all sections; one without exhibits says in its remarks why it has none."""
    return [build(story) for build in SECTIONS]
