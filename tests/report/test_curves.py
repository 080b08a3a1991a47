from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import MatchResult, UnknownName
from arena.report.curves import draw_curves
from arena.report.findings import findings
from arena.report.pictures.curves import draw_queries
from tests.payoff.matches import over_seeds
from tests.payoff.test_tradeoff import swept, undefended
from tests.report.stories import with_curves


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


def test_fidelity_over_queries_is_one_figure_with_a_panel_for_each_setting(tmp_path: Path):
    small = with_curves()
    larger = [replace(one, matchup=replace(one.matchup, budget=400)) for one in small]
    draw_queries(findings([*small, *larger]), tmp_path / "queries.svg")
    words = (tmp_path / "queries.svg").read_text()
    assert "victim digits, pool same, 100 rows" in words
    assert "victim digits, pool same, 400 rows" in words
    assert words.count(">rows queried<") == 2
    draw_queries(findings(small), tmp_path / "queries.png")
    assert (tmp_path / "queries.png").read_bytes().startswith(b"\x89PNG")


def test_without_clones_of_fewer_rows_there_is_no_figure_over_queries(tmp_path: Path):
    with pytest.raises(UnknownName, match=r"set curve = \[50, 100\]"):
        draw_queries(findings(over_seeds("knockoff", "none", [800, 810])), tmp_path / "queries.png")
    assert not (tmp_path / "queries.png").exists()
