"""Section 12: the card of every method that played, from its own documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass

from arena.contracts import ArenaError, Spec
from arena.registry import Role, player_class
from arena.report.sections.story import Story
from arena.report.sheets import Exhibit, Section, Sheet, heads, words


@dataclass(frozen=True, kw_only=True)
class Card:
    """A method with the first line, the source and the departures of its documentation; empty if it says nothing."""

    role: str
    name: str
    idea: str
    source: str
    departures: str


def method_section(story: Story) -> Section:
    """Return a row for each method that played, wrapped ones included."""
    cards = [_card(role, spec) for role, spec in _played(story)]
    sheet = Sheet(
        name="methods",
        title="Methods that played",
        caption="arena list NAME shows the whole card of a method, with its parameters.",
        heads=heads("role", "method", "idea", "source", "departures from the source"),
        rows=tuple(
            (words(one.role), words(one.name), words(one.idea), words(one.source), words(one.departures))
            for one in cards
        ),
        for_paper=False,
    )
    return Section(
        key="methods",
        title="Method cards",
        decision="Is this the published method that I have in mind?",
        exhibits=(Exhibit(sheet=sheet),),
    )


def _played(story: Story) -> list[tuple[Role, Spec]]:
    """Return the methods of all players, each once, without their parameters."""
    found: dict[tuple[Role, str], Spec] = {}
    for result in story.record.results:
        matchup = result.matchup
        players: list[tuple[Role, Spec]] = [("attack", matchup.attack), ("defense", matchup.defense)]
        players += [("threat", threat) for threat in matchup.threats]
        players += [("explanation", matchup.explanation)] if matchup.explanation is not None else []
        for role, spec in players:
            for one in _with_inner(spec):
                found.setdefault((role, one.full_name), one)
    return [(role, spec) for (role, _), spec in sorted(found.items())]


def _with_inner(spec: Spec) -> Iterable[Spec]:
    yield spec
    for _, value in spec.params:
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Spec):
                yield from _with_inner(one)


def _card(role: Role, spec: Spec) -> Card:
    """Return the card of a method. The code of an entry is not run for this, so its card is empty."""
    if "/" in spec.name:
        name = spec.name.rstrip("/").rsplit("/", 1)[-1]
        return Card(role=role, name=name, idea="an entry from a folder", source="", departures="")
    try:
        kind = player_class(role, spec.full_name).kind
    except (ArenaError, ImportError):
        return Card(role=role, name=spec.full_name, idea="not installed here", source="", departures="")
    module = inspect.getmodule(kind)
    about = (inspect.getdoc(module) if module else "") or ""
    return Card(
        role=role,
        name=spec.full_name,
        idea=_plain(about.split("\n\n")[0]),
        source=_paragraph(about, "Source"),
        departures=_paragraph(about, "Departure"),
    )


def _paragraph(about: str, label: str) -> str:
    """Return what follows a label such as ``Source:`` up to the next empty line, in one line."""
    found = re.search(
        rf"^{label}[^:\n]*:\s*(.*?)(?=\n\s*\n|\n[A-Z][a-z]+[^:\n]{{0,30}}:|\Z)", about, re.DOTALL | re.MULTILINE
    )
    return _plain(found[1]) if found else ""


def _plain(text: str) -> str:
    """Return text in one line, without the marks of reStructuredText."""
    return " ".join(text.replace("`", "").split())
