"""Section 11: every match as a row, and what a reader sees who opens one."""

from __future__ import annotations

import re
from dataclasses import asdict

from arena.contracts import MatchResult, matchup_id, to_json
from arena.contracts.encoding import Json
from arena.payoff.matrix import attack_label, defense_label, label, own_score, payoff
from arena.report.examples import SHOWN_MATCHES, Examples, examples_of
from arena.report.match_tables import match_rows
from arena.report.sections.story import Story
from arena.report.sheets import Cell, Exhibit, Section, Sheet, heads, number, share, words

NAME_CHARACTERS = 60  # of a player in the table; the drill-down has all of them
_CURVE = re.compile(r"curve/(\d+)/a/fidelity")
MATCHES = "matches"


def match_section(story: Story) -> Section:
    """Return one row per match; the page opens the drill-down of a match from its row."""
    sheet = Sheet(
        name=MATCHES,
        title="All matches",
        caption="Payoff: the largest fidelity of tracks A, A-hard and B, %; own: of the attack's own clone.",
        heads=heads("match", "attack", "defense", "victim", "pool", numbers=("budget", "seed"))
        + heads("outcome", "flags", numbers=("payoff", "own")),
        rows=tuple(_row(result) for result in story.record.results),
        for_paper=False,
    )
    return Section(
        key=MATCHES,
        title="Match by match",
        decision="What exactly happened in this match?",
        remarks=(
            "Open a match for its terms, scores, digests and the player's own output. Queries are shown as pictures for the "
            f"first match of up to {SHOWN_MATCHES} cells; arena show prints the transcript of any other.",
        ),
        exhibits=(Exhibit(sheet=sheet),),
    )


def match_details(story: Story) -> dict[str, Json]:
    """Return what the page shows of each match, by id, as JSON values; shares and digests are text by then."""
    examples = examples_of(story.record.results, story.record.folder)
    return {
        (name := matchup_id(result.matchup)): _detail(result, examples.get(name)) for result in story.record.results
    }


def _row(result: MatchResult) -> tuple[Cell, ...]:
    matchup = result.matchup
    pool = f"{matchup.pool}:{matchup.pool_source}" if matchup.pool_source else matchup.pool
    return (
        words(matchup_id(matchup)),
        words(_cut(attack_label(matchup.attack, informed=matchup.informed))),
        words(_cut(defense_label(matchup.defense, matchup.knowledge))),
        words(_cut(label(matchup.victim))),
        words(pool),
        number(matchup.budget),
        number(matchup.seed),
        words(result.verdict.outcome, note=result.verdict.reason),
        words(", ".join(result.flags)),
        share(payoff(result)),
        share(own_score(result)),
    )


def _cut(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 3]}..."


def _detail(result: MatchResult, examples: Examples | None) -> Json:
    rows = [row for section in match_rows(result) for row in section] + _curve_rows(result)
    found: dict[str, Json] = {"rows": [[name, value] for name, value in rows]}
    if result.confusion is not None:
        found["confusion"] = to_json(result.confusion)
    if examples is not None:
        queries = [{key: to_json(value) for key, value in asdict(one).items()} for one in examples.queries]
        found |= {"queries": list(queries), "images": list(examples.images), "why_not": examples.why_not}
    return found


def _curve_rows(result: MatchResult) -> list[tuple[str, str]]:
    """Return the fidelity of track A after each number of rows that was scored."""
    rows = sorted((int(found[1]), name) for name in result.counts if (found := _CURVE.fullmatch(name)))
    return [
        (f"after {after:,} rows", f"fidelity {100 * count.share:.1f} % (track A)")
        for after, name in rows
        if (count := result.counts[name]).total
    ]
