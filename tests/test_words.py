"""Coined and oddly turned phrases stay out of the code and the docs: each is listed with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("arena", "agents", "docs")
FILES = ("README.md", "CONTRIBUTING.md")
SUFFIXES = frozenset({".py", ".md", ".toml", ".html"})
GENERATED = ROOT / "arena" / "proto"

INSTEAD = {
    r"unasked": "unqueried",
    r"bought": "queried (rows), labelled queries, the transfer set",
    r"bent": "perturbed",
    r"thie(f|ves)": "attacker, attack, clone",
    r"a theft": "a model extraction attack",
    r"c[ao]mes? of (it|them)": "the result, the outcome",
    r"lets? out": "releases",
    r"lets? (it|them) know": "tells it, gives it",
    r"one's own": "your own, the attacker's own",
    r"to be had": "available",
    r"at equal terms": "on equal terms",
    r"one a (row|seed|point|figure|file|match|class)": "one per row, one for each row",
    r"(method|subcommand|attack|defense|script) a (file|figure)": "one per file",
    r"a row a match": "one row per match",
    r"(goes?|asked|sent) along": "is included, is requested with",
    r"as one writes": "as written in",
    r"stands? there": "appears",
    r"stand(s|ing)? beside": "is shown next to",
    r"(tells?|told) apart": "distinguishes, distinguished",
    r"that (they|it) cannot touch": "that the referee enforces",
    r"wants, and works without": "optional needs",
    r"knows? (no|a) (game|layout|training)": "does not depend on",
    r"turn(s|ed)? round": "reversed, mirrored",
    r"by turns": "in turn",
    r"worth nothing": "expires, is invalid",
    r"say \w+ = ": "set ... = ...",
    r"read against": "compared with",
    r"(is|are|was|were)( not)? looked at": "is examined, is checked",
    r"so many of so many": "hits out of a total",
    r"(is|are) no arena\.\w+": "is not a valid ...",
    r"dear(er|est)": "more expensive",
}


class Hit(NamedTuple):
    """A phrase that should not be there: its line, itself, and what to write instead."""

    line: int
    phrase: str
    instead: str


def hits(text: str) -> list[Hit]:
    """Return the listed phrases in a text, also those that are broken over lines or comment signs."""
    found = []
    for phrase, instead in INSTEAD.items():
        pattern = r"\b" + phrase.strip().replace(" ", r"(?:\s|#)+") + (r"\b" if phrase[-1] != " " else r"\s")
        for match in re.finditer(pattern, text, re.IGNORECASE):
            found.append(Hit(text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead))
    return sorted(found)


def texts() -> dict[str, str]:
    """Return what is written by hand, by path."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    paths = [path for path in paths if GENERATED not in path.parents] + [ROOT / name for name in FILES]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(paths)}


def test_no_odd_phrase_comes_back():
    found = {path: hits(text) for path, text in texts().items()}
    shown = [
        f"{path}:{hit.line}: {hit.phrase!r}; write: {hit.instead}" for path, of_file in found.items() for hit in of_file
    ]
    assert not shown, "\n" + "\n".join(shown)


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ("A thief asks.", 1, "thief"),
        ("It scores\nwhat came\n    of it.", 2, "came of it"),
        ("# played under budgets that they\n# cannot touch", 1, "that they # cannot touch"),
        ("the oracle\n\n\nlets out the rows", 4, "lets out"),
        ("there is no choice; say sweep = true with one", 1, "say sweep ="),
    ],
)
def test_an_odd_phrase_is_found_where_it_begins(text: str, line: int, phrase: str):
    (hit,) = hits(text)
    assert (hit.line, hit.phrase) == (line, phrase)


def test_plain_words_are_no_hits():
    assert not hits("An attacker queries the oracle, and the referee scores the result; benchmarks say that it is so.")
