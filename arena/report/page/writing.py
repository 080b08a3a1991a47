"""Writes the page of a run to a file."""

from __future__ import annotations

from pathlib import Path

from arena.report.files import write_whole
from arena.report.page.render import page
from arena.report.sections.story import Story

REPORT_HTML = "report.html"


def write_page(story: Story, path: Path) -> None:
    """Write the report of a run as one HTML file, whole or not at all."""
    write_whole(path, page(story))
