from pathlib import Path

import pytest

from arena.contracts import MatchResult, UnknownName
from arena.report.curves import draw_curves
from tests.payoff.matches import over_seeds
from tests.payoff.test_tradeoff import swept, undefended


def test_a_sweep_becomes_a_figure(tmp_path: Path):
    draw_curves([*undefended(), *swept("knockoff", {3: (800, 0), 1: (600, 20)})], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def drawn(tmp_path: Path, results: list[MatchResult]) -> str:
    draw_curves(results, tmp_path / "curves.svg")
    return (tmp_path / "curves.svg").read_text()


def test_several_attacks_have_a_panel_each_beside_that_of_the_best(tmp_path: Path):
    both = [*swept("knockoff", {3: (800, 0), 1: (600, 20)}), *swept("jbda", {3: (700, 0), 1: (650, 20)})]
    words = drawn(tmp_path, both)
    assert "<!-- knockoff -->" in words
    assert "<!-- jbda -->" in words
    assert words.count("<!-- accuracy of honest answers, % -->") == 3


def test_one_attack_needs_no_panel_of_its_own(tmp_path: Path):
    words = drawn(tmp_path, swept("knockoff", {3: (800, 0), 1: (600, 20)}))
    assert words.count("<!-- accuracy of honest answers, % -->") == 1


def test_nothing_swept_is_said_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(UnknownName, match="sweep = true"):
        draw_curves(over_seeds("knockoff", "none", [800, 810]), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
