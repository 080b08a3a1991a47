"""The page as a browser shows it: no error, no request, readable when narrow and in the dark, and usable by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import Confusion
from arena.report.page.render import page
from tests.browser import browser_module, needs_chromium
from tests.report.stories import hostile_tournament, small_tournament, story, with_curves

pytestmark = [pytest.mark.chromium, needs_chromium]

LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA, for text

CONTRASTS = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = rgb(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('main td, main p, main h2, main .sort, header p, header a')].map((element) => {
    let under = element, back = [0, 0, 0, 0];
    while (under && back[3] === 0) { back = rgb(getComputedStyle(under).backgroundColor); under = under.parentElement; }
    const [one, two] = [light(rgb(getComputedStyle(element).color)), light(back[3] ? back : paper)].sort((a, b) => b - a);
    return [(one + 0.05) / (two + 0.05), element.textContent.slice(0, 40)];
  }).sort((a, b) => a[0] - b[0])[0];
})()
"""


@pytest.fixture(scope="module")
def opened() -> Iterator[object]:
    with browser_module().browser() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(story([*small_tournament(), *with_curves("maze")])), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_opens_without_errors_and_without_scrolling_sideways(opened, report: Path, width: int, scheme: str):
    opened.look(width=width, scheme=scheme)
    opened.open(report.as_uri())
    assert (opened.errors, opened.requests) == ([], [])
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("document.querySelectorAll('main figure svg').length") >= 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_against_its_background(opened, report: Path, scheme: str):
    opened.look(width=1440, scheme=scheme)
    opened.open(report.as_uri())
    contrast, words = opened.evaluate(CONTRASTS)
    assert contrast >= LEAST_CONTRAST, words


def test_the_dark_page_is_dark(opened, report: Path):
    colours = []
    for scheme in ("light", "dark"):
        opened.look(width=1440, scheme=scheme)
        opened.open(report.as_uri())
        colours.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(254, 254, 254)", "rgb(20, 23, 27)"]


def test_a_column_is_sorted_by_its_button(opened, report: Path):
    opened.open(report.as_uri())
    column = "[...document.querySelectorAll('#table-matches tbody tr')].map(row => Number(row.cells[9].textContent))"
    head = "document.querySelectorAll('#table-matches .sort')[9]"
    opened.evaluate(f"{head}.click()")
    assert opened.evaluate(column) == sorted(opened.evaluate(column))
    opened.evaluate(f"{head}.click()")
    assert opened.evaluate(column) == sorted(opened.evaluate(column), reverse=True)
    assert opened.evaluate(f"{head}.closest('th').getAttribute('aria-sort')") == "descending"


def test_rows_are_filtered_by_words_and_counted(opened, report: Path):
    opened.open(report.as_uri())
    opened.evaluate(
        "(() => { const box = document.querySelector('#matches .filter input'); box.value = 'jbda label-only'; "
        "box.dispatchEvent(new Event('input')); })()"
    )
    assert opened.evaluate("document.querySelectorAll('#table-matches tbody tr:not([hidden])').length") == 5
    assert opened.evaluate("document.querySelector('#matches .filter [role=status]').textContent") == "5 of 25 rows"


def test_a_match_is_opened_and_closed_by_keyboard(opened, report: Path):
    opened.open(report.as_uri())
    opened.evaluate("document.querySelector('#table-matches .open').focus()")
    _press(opened, "Enter", 13)
    opened.evaluate("new Promise(requestAnimationFrame)")
    assert opened.evaluate("document.getElementById('match').open")
    assert "fidelity 80.0 %" in opened.evaluate("document.getElementById('match-body').textContent")
    _press(opened, "Escape", 27)
    assert not opened.evaluate("document.getElementById('match').open")
    assert opened.evaluate("document.activeElement.className") == "open"


def test_a_match_shows_which_classes_its_clone_confuses(opened, tmp_path: Path):
    confusion = Confusion(track="b", classes=2, victim=(3, 1, 0, 4), labels=(2, 2, 1, 3))
    path = tmp_path / "confused.html"
    path.write_text(page(story([replace(one, confusion=confusion) for one in small_tournament()])), encoding="utf-8")
    opened.look(width=360)
    opened.open(path.as_uri())
    opened.evaluate("document.querySelector('#table-matches .open').click()")
    opened.evaluate("new Promise(requestAnimationFrame)")
    cells = "[...document.querySelectorAll('#match-body .confusion')].map(one => [...one.querySelectorAll('td')].map(cell => cell.textContent))"
    assert opened.evaluate(cells) == [["3", "1", "", "4"], ["2", "2", "1", "3"]]
    assert opened.evaluate("document.getElementById('match').scrollWidth <= innerWidth")
    assert opened.errors == []


def test_what_a_point_says_is_shown_when_it_has_the_focus(opened, report: Path):
    opened.open(report.as_uri())
    opened.evaluate("document.querySelector('svg .point').focus()")
    assert "fidelity" in opened.evaluate("document.getElementById('tip').textContent")
    assert opened.evaluate("!document.getElementById('tip').hidden")
    assert opened.evaluate("document.querySelectorAll('svg .point:not([aria-label])').length") == 0


def test_every_figure_has_a_name_and_a_table_behind_it(opened, report: Path):
    opened.open(report.as_uri())
    assert opened.evaluate("[...document.querySelectorAll('figure svg')].every(one => one.getAttribute('aria-label'))")
    folded = "[...document.querySelectorAll('.pictures')].every(one => one.nextElementSibling.querySelector('table'))"
    assert opened.evaluate(folded)


def test_no_words_of_a_player_run(opened, tmp_path: Path):
    path = tmp_path / "hostile.html"
    path.write_text(page(story(hostile_tournament())), encoding="utf-8")
    opened.open(path.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for place in range(opened.evaluate("document.querySelectorAll('#table-matches .open').length")):
        opened.evaluate(f"document.querySelectorAll('#table-matches .open')[{place}].click()")
        opened.evaluate("new Promise(requestAnimationFrame)")
        opened.evaluate("document.getElementById('match').close()")
    assert opened.evaluate("window.pwned === undefined")
    assert (opened.errors, opened.requests) == ([], [])


def _press(opened, key: str, code: int) -> None:
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        opened.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
