"""Writes the page: a template that escapes everything, with the styles, the script and the pictures inside the file."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from arena.contracts.encoding import Json
from arena.report.document import document
from arena.report.pictures.picture import Picture, inline_svg
from arena.report.sections.matches import MATCHES, match_details
from arena.report.sections.story import Story
from arena.report.sections.summary import status
from arena.version import __version__

TEMPLATES = Path(__file__).parent
OPEN_ROWS = 40  # a table with more is folded, and scrolls within its place on the page


def page(story: Story) -> str:
    """Return the report of a tournament as HTML.

    Names, reasons and outputs of players are escaped wherever they appear. A content security policy forbids every
    request, and every script but the one that is part of the page.
    """
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["inline"] = _inline
    return environment.get_template("report.html").render(
        title=f"Tournament {story.record.name}",
        status=status(story),
        state=_state(story),
        sections=document(story),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # our own file
        script=Markup(script),
        script_digest=_digest(script),
        details=embedded(match_details(story)),
        matches=MATCHES,
        open_rows=OPEN_ROWS,
        version=__version__,
    )


def embedded(value: Json) -> Markup:
    """Return JSON that can stand in a script element: no character in it can end the element or start a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _inline(picture: Picture) -> Markup:
    return Markup(inline_svg(picture))  # matplotlib escapes text, and inline_svg escapes tips


def _state(story: Story) -> str:
    """Return the state by which the status line is styled: incomplete, reserved or complete."""
    if story.record.left:
        return "incomplete"
    return "reserved" if story.record.problems or story.incidents.failed or story.incidents.not_finite else "complete"


def _digest(script: str) -> str:
    """Return the digest by which a content security policy knows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
