import base64
import hashlib
import html.parser
import json
import math
import re
from dataclasses import replace

import pytest

from arena.contracts import Confusion, Knowledge, MatchResult, matchup_id
from arena.report.document import document
from arena.report.page.render import embedded, page
from arena.report.sections.story import Rates
from tests.payoff.matches import CRASHED, by_image, honest, match, over_seeds
from tests.payoff.test_tradeoff import swept, undefended
from tests.report.stories import HOSTILE, hostile_tournament, small_tournament, story, with_curves

SECTIONS = [
    "summary", "matrix", "protection", "divisions", "queries", "tracks", "knowledge", "honest", "threats", "incidents",
    "matches", "methods", "reproduce",
]  # fmt: skip
VOID = {"meta", "link", "br", "input", "img"}


class Seen(html.parser.HTMLParser):
    """The elements of a page, with their attributes and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]


@pytest.fixture(scope="module")
def small() -> str:
    """The page of a small tournament."""
    return page(story(small_tournament()))


@pytest.fixture(scope="module")
def hostile() -> str:
    """The page of a tournament in which every word of a player is markup."""
    return page(story(hostile_tournament()))


def details_of(text: str) -> dict[str, dict[str, object]]:
    (found,) = re.findall(r'<script type="application/json" id="details">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(found)


def test_the_sections_stand_in_their_order_each_with_its_decision(small: str):
    seen = Seen(small)
    sections = [attributes["id"] for tag, attributes in seen.elements if tag == "section"]
    assert sections == SECTIONS
    decisions = [attributes for tag, attributes in seen.elements if attributes.get("class") == "decision"]
    assert len(decisions) == len(SECTIONS)


def test_every_id_is_unique_and_every_reference_has_its_target():
    text = page(story([*small_tournament(), *with_curves("maze")]))
    seen = Seen(text)
    ids = seen.ids()
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', text)
    assert set(wanted) <= set(ids)


def test_the_page_needs_no_network_and_runs_its_own_script_only(small: str):
    text, seen = small, Seen(small)
    addresses = [
        value for _, attributes in seen.elements for key, value in attributes.items() if key in ("src", "href")
    ]
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert "@import" not in text
    (policy,) = [one["content"] for tag, one in seen.elements if one.get("http-equiv") == "Content-Security-Policy"]
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    assert "default-src 'none'" in str(policy)
    assert f"sha256-{_digest(script)}" in str(policy)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def test_what_a_players_author_writes_stays_text(small: str, hostile: str):
    seen = Seen(hostile)
    assert {tag for tag, _ in seen.elements} <= {tag for tag, _ in Seen(small).elements}
    assert [one for tag, one in seen.elements if tag == "script"] == [{"type": "application/json", "id": "details"}, {}]
    assert not [key for _, one in seen.elements for key in one if key.startswith("on")]
    assert "{{ 7 * 7 }}" in seen.text
    assert "window.pwned" in seen.text


@pytest.mark.parametrize("words", HOSTILE)
def test_words_reach_the_drill_down_as_they_were_written(words: str, hostile: str):
    rows = [value for one in details_of(hostile).values() for _, value in one["rows"]]
    assert any(words in value for value in rows)


@pytest.mark.parametrize("words", ["</script>", "<!--", "<script", "&", "\u2028"])
def test_nothing_in_json_can_end_the_element_around_it(words: str):
    assert json.loads(embedded({"one": words})) == {"one": words}
    assert not set("<>&\u2028") & set(embedded({"one": words}))


def test_a_cell_has_its_interval_and_its_marks(small: str):
    (worst,) = re.findall(r"<td[^>]*>92\.0 ±2\.0.*?</td>", small)[:1]
    assert 'class="number worst shaded"' in worst
    assert "95 % interval 90.0-94.0, 5 seeds" in worst
    assert "(worst case)" in worst


def test_a_cell_without_a_significant_effect_is_hatched():
    near = over_seeds("knockoff", "mad", [801, 809, 821, 829, 841])
    text = page(story([*small_tournament(), *near]))
    assert re.search(r'class="number worst undecided shaded"[^>]*>82\.0', text)
    assert re.search(r'class="number shaded"[^>]*>62\.0', text)


def test_a_missing_cell_is_shown_and_listed():
    missing = match("maze", verdict=CRASHED, fidelity=None)
    text = Seen(page(story([*small_tournament(), missing]))).text
    assert "missing" in text
    assert "infrastructure in stage play, fault: arena: the node went away" in text
    assert "1 did not end well" in text


def test_matches_that_were_not_played_are_named_and_counted():
    waiting = match("maze", seed=3).matchup
    text = Seen(page(story(small_tournament(), missing=(waiting,), unnamed=2))).text
    assert "Incomplete: 20 of 23 matches have a result; 3 are missing" in text
    assert "maze none 100 1 3 no result missing from every table" in text
    assert "2 planned matches have no result and cannot be named" in text


def test_what_could_not_be_read_is_told():
    text = Seen(page(story(small_tournament(), problems=("Line 2 cannot be read.",)))).text
    assert "Complete, with reservations: 20 of 20 matches have a result; 1 problem with the run folder." in text
    assert "Line 2 cannot be read." in text


def test_one_seed_and_one_attack_give_values_without_ranks():
    text = Seen(page(story([match()]))).text
    assert "With 1 seed there are no ranks and no tests" in text
    assert "80.0" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_shown_as_such(value: float):
    results = [replace(one, measures={"utility/l1": value, "utility/ece": value}) for one in small_tournament()]
    text = page(story(results))
    assert "not finite" in Seen(text).text
    assert "utility/l1 is not finite" in Seen(text).text
    assert "NaN" not in text[text.index('id="details"') :].split("</script>")[0]


def test_every_match_is_a_row_and_has_a_drill_down(small: str):
    names = [matchup_id(one.matchup) for one in small_tournament()]
    assert re.findall(r'<tr data-match="([0-9a-f]+)"', small) == names
    assert list(details_of(small)) == names


def test_two_hundred_attacks_are_all_in_the_tables():
    results = [
        match(f"attack-{number}", seed=seed, fidelity=500 + number) for number in range(200) for seed in range(2)
    ]
    text = page(story(results))
    assert all(f">attack-{number}</td>" in text for number in range(200))
    assert "the first 40 of 200 rows" in text


def test_a_tournament_with_several_budgets_has_a_table_for_each():
    larger = [replace(one, matchup=replace(one.matchup, budget=200)) for one in small_tournament()]
    seen = Seen(page(story([*small_tournament(), *larger])))
    assert {"table-matrix-1", "table-matrix-2"} <= set(seen.ids())
    assert "victim digits, pool same, 200 rows" in seen.text
    assert len(seen.ids()) == len(set(seen.ids()))


def test_a_leak_is_marked_by_shape_and_words():
    leaky = [
        replace(one, flags=("leak",), matchup=replace(one.matchup, knowledge=Knowledge(outliers="near")))
        for one in over_seeds("knockoff", "leaky", [100] * 5)
    ]
    text = page(story([*small_tournament(), *leaky]))
    assert "&#9888;" in text
    assert "not ranked: leak" in text


def test_swept_defenses_have_their_trade_off():
    results = [*undefended(), *swept("knockoff", {3: (800, 0), 1: (600, 20)})]
    assert "Trade-off of each swept defense" in page(story(results))


def test_rates_turn_rows_into_days_and_money():
    text = Seen(page(story(with_curves(), rates=Rates(rows_per_day=50, price=0.02)))).text
    assert "50; 1 days, 1.00" in text
    assert "> 100; > 2 days, > 2.00" in text


def test_how_long_honest_users_waited_stands_beside_what_they_lost():
    waited = {"utility/p50_seconds": 0.0012, "utility/p95_seconds": 0.0345, "attack/refused": 3.0}
    timed = [replace(one, measures=waited) for one in small_tournament()]
    (section,) = (one for one in document(story(timed)) if one.key == "honest")
    sheet = section.exhibits[0].sheet
    row = dict(zip([head.text for head in sheet.heads], [cell.text for cell in sheet.rows[0]], strict=True))
    assert (row["p50"], row["p95"], row["attack refused"]) == ("1.20", "34.50", "3.00")


def test_a_time_that_was_not_recorded_is_a_dash_and_says_so():
    (section,) = (one for one in document(story(small_tournament())) if one.key == "honest")
    cell = section.exhibits[0].sheet.rows[0][-2]
    assert (cell.text, cell.note) == ("-", "not recorded by the version that played")


def test_the_confusions_of_a_clone_are_part_of_its_match():
    confusion = Confusion(track="b", classes=2, victim=(3, 1, 0, 4), labels=(2, 2, 1, 3))
    first, *others = small_tournament()
    text = page(story([replace(first, confusion=confusion), *others]))
    found = details_of(text)[matchup_id(first.matchup)]["confusion"]
    assert found == {"track": "b", "classes": 2, "victim": [3, 1, 0, 4], "labels": [2, 2, 1, 3]}


def informed_tournament() -> list[MatchResult]:
    """Blind attacks cannot tell two defenses apart, informed ones break the second."""
    levels = {("first", False): 700, ("second", False): 700, ("first", True): 600, ("second", True): 900}
    return [
        match(
            "knockoff", defense, seed=seed, fidelity=level + seed, informed=informed,
            counts=honest(lost=0, changed=0), outcomes=by_image(lost=0),
        )
        for (defense, informed), level in levels.items()
        for seed in range(10)
    ]  # fmt: skip


def test_rank_intervals_over_blind_and_over_informed_attacks_stand_side_by_side():
    (section,) = (one for one in document(story(informed_tournament())) if one.key == "divisions")
    exhibit = section.exhibits[0]
    names = [head.text for head in exhibit.sheet.heads]
    rows = {row[1].text: dict(zip(names, [cell.text for cell in row], strict=True)) for row in exhibit.sheet.rows}
    assert {name: (row["blind rank"], row["informed rank"]) for name, row in rows.items()} == {
        "first": ("1-2", "1"),
        "second": ("1-2", "2"),
    }
    assert rows["second"]["rank"] == "2"
    assert [picture.name for picture in exhibit.pictures] == ["ranks", "ranks-told"]
    assert "second: rank 2 (informed attacks)" in exhibit.pictures[1].tips.values()


def test_a_tournament_of_blind_attacks_has_no_ranks_of_informed_ones():
    (section,) = (one for one in document(story(small_tournament())) if one.key == "divisions")
    assert "blind rank" not in [head.text for head in section.exhibits[0].sheet.heads]
    assert "blind and informed attacks cannot be compared" in section.exhibits[0].sheet.caption


def test_a_figure_that_cannot_hold_every_defense_says_how_many_it_shows():
    many = [one for number in range(30) for one in with_curves(defense=f"defense-{number}")]
    (section,) = (one for one in document(story(many)) if one.key == "queries")
    (picture,) = section.exhibits[0].pictures
    assert picture.figure.axes[0].get_title() == "Strongest attack on each defense: the first 24 of 30 defenses"
    assert len(section.exhibits[0].sheet.rows) == 30
