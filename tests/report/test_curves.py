from pathlib import Path

import pytest

from arena.contracts import UnknownName
from arena.report.curves import draw_curves
from tests.payoff.matches import over_seeds
from tests.payoff.test_tradeoff import swept, undefended


def test_a_sweep_becomes_a_figure(tmp_path: Path):
    draw_curves([*undefended(), *swept("knockoff", {3: (800, 0), 1: (600, 20)})], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_swept_is_said_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(UnknownName, match="sweep = true"):
        draw_curves(over_seeds("knockoff", "none", [800, 810]), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
