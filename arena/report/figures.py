"""The figures of a report as files: SVG for the web and PDF for a paper."""

from __future__ import annotations

from pathlib import Path

from arena.report.document import document
from arena.report.pictures.picture import pdf, svg
from arena.report.sections.story import Story


def write_figures(story: Story, folder: Path) -> list[str]:
    """Write every figure into a folder, which is made if it is missing, and return their names without an ending."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for section in document(story):
        for picture in (picture for exhibit in section.exhibits for picture in exhibit.pictures):
            (folder / f"{picture.name}.svg").write_text(svg(picture), encoding="utf-8")
            (folder / f"{picture.name}.pdf").write_bytes(pdf(picture))
            names.append(picture.name)
    return names
