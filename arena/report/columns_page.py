"""The page docs/results.md, which documents every column: ``python -m arena.report.columns_page > docs/results.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arena.report.columns import HITS, MATCH_COLUMNS, TOTAL
from arena.report.score_meanings import CLONES, MEANINGS, OF_A_CLONE

INTRODUCTION = f"""# A tournament as data

`arena.results("runs/demo")` returns a pandas DataFrame with one row per match, and `results.csv` in a run folder has the
same columns (`arena report DIR --csv` prints it). pandas comes with `model-stealing-arena[tables]`.

```python
import arena

frame = arena.results("runs/demo")
frame.groupby(["attack", "defense"])["payoff"].agg(["mean", "std", "count"])
frame["utility/kept{HITS}"].sum() / frame["utility/kept{TOTAL}"].sum()  # counts are pooled before they are divided
```

A *share* lies in [0, 1]. Each share of rows has two more columns, `NAME{HITS}` and `NAME{TOTAL}`, with the integers that it
was computed from. What a match does not have is missing, not zero. `frame.attrs["columns"]` has the descriptions below,
`frame.attrs["missing"]` the number of planned matches without a result, and `frame.attrs["problems"]` what could not be
read. This page is written by `python -m arena.report.columns_page`.
"""


def page() -> str:
    """Return the page as Markdown."""
    fixed = [(f"`{column.name}`", column.kind, column.meaning) for column in MATCH_COLUMNS]
    scores = [(f"`{name}`", meaning) for name, meaning in _sorted(MEANINGS)]
    clones = [(f"`TRACK/{name}`", meaning.format(clone="the clone")) for name, meaning in _sorted(OF_A_CLONE)]
    tracks = [(f"`{name}`", meaning) for name, meaning in CLONES.items()]
    tracks.append(("`curve/ROWS/a`", "a track A clone that was trained on the first ROWS rows"))
    others = [
        ("`threat/NAME/...`", "what a threat counts or measures; `arena list NAME` explains it"),
        ("`attack/fact/...`, `defense/fact/...`", "what a player states about its own play; nothing is ranked by it"),
    ]
    sections = [
        "## Every match",
        _table(("column", "kind", "meaning"), fixed),
        "## Scores",
        _table(("column", "meaning"), scores),
        "## Scores of clones",
        _table(("column", "meaning"), clones),
        _table(("track", "which clone"), tracks),
        "## Scores that players and threats name",
        _table(("column", "meaning"), others),
    ]
    return "\n".join([INTRODUCTION, "\n\n".join(sections), ""])


def _sorted(meanings: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(meanings.items())


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
