"""The simulation that proves the intervals: that it runs, is the same each time, and catches what is wrong."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, loaded by its path: its name is also that of a package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("benchmarks_coverage", BENCHMARKS / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_table_has_its_rows_and_states_its_repetitions_and_seed(coverage, capsys):
    status = coverage.main(["--repetitions", "4", "--seed", "1"])
    text = capsys.readouterr().out
    assert status == int("* missed: " in text)
    assert text.startswith("4 repetitions of each row, generator seed 1")
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 4
    for players in coverage.PLAYERS:
        assert len(re.findall(rf"^\| {players} \| (same|mixed) noise", text, re.MULTILINE)) == 4
        assert len(re.findall(rf"^\| {players} \| [124] \|", text, re.MULTILINE)) == 6
    for what in ("cell", "mean over 6 cells", "difference of 0 points", "worst case, ladder"):
        assert re.search(rf"^\| {what}.*±", text, re.MULTILINE)


def test_a_run_that_misses_nothing_ends_well(coverage, capsys):
    assert coverage.main(["defenses", "--repetitions", "4"]) == 0
    assert " demands looked at, 0 missed" in capsys.readouterr().out


def test_the_same_seed_prints_the_same_tables(coverage, capsys):
    tables = []
    for _ in range(2):
        coverage.main(["attacks", "--repetitions", "2"])
        tables.append(capsys.readouterr().out.split("demands looked at")[0])
    assert tables[0] == tables[1]


def test_an_interval_of_half_the_width_is_caught(coverage, capsys, monkeypatch):
    def halved(cells, *, images):
        return [
            replace(one, low=(one.mean + one.low) / 2, high=(one.mean + one.high) / 2) if one.low is not None else one
            for one in honest(cells, images=images)
        ]

    honest = coverage.share_intervals
    monkeypatch.setattr(coverage, "share_intervals", halved)
    assert coverage.main(["intervals", "--repetitions", "20"]) == 1
    assert "* missed: cell, own noise 1 points, 5 seeds, covered" in capsys.readouterr().out


def test_ranks_without_family_wise_control_are_caught(coverage, capsys, monkeypatch):
    ranks = sys.modules["simulation.ranks"]

    def unadjusted(values, *, images, candidates=None):
        found = controlled(values, images=images, candidates=candidates)
        rows = np.asarray(values)
        return replace(found, above=ranks.old_order(rows, rows, largest=True))

    controlled = ranks.compare_all
    monkeypatch.setattr(ranks, "compare_all", unadjusted)
    assert coverage.main(["attacks", "--repetitions", "20"]) == 1
    missed = capsys.readouterr().out
    assert "* missed: 19 equal players, same noise, 5 seeds, told apart falsely" in missed
    assert "* missed: 19 equal players, same noise, 5 seeds, all ranks right" in missed


def test_a_cost_that_counts_an_image_once_an_attack_is_caught(coverage, capsys, monkeypatch):
    def pooled(seeds):
        apart = [
            replace(one, **{name: getattr(one, name).repeat(9) for name in ("asked", "clean", "right")})
            for one in seeds
        ]
        return counted(apart)

    counted = coverage.decision_cost
    monkeypatch.setattr(coverage, "decision_cost", pooled)
    assert coverage.main(["costs", "--repetitions", "20"]) == 1
    assert "* missed: cost 200, 100 %, 10 %" in capsys.readouterr().out


def test_an_unknown_section_is_refused_with_those_that_there_are(coverage, capsys):
    with pytest.raises(SystemExit):
        coverage.main(["ranks"])
    assert "there are intervals, costs, attacks, defenses" in capsys.readouterr().err


def test_the_true_share_is_what_many_seeds_come_to(coverage):
    tournaments = sys.modules["simulation.tournaments"]
    means, rng = np.array([[0.7, 0.5]]), np.random.default_rng(0)
    played = tournaments.play(means, 0.02, seeds=2_000, rng=rng)
    truth = tournaments.true_shares(means, 0.02, played.difficulty)
    assert played.values.mean(axis=2) == pytest.approx(truth, abs=0.003)


def test_the_true_loss_of_traffic_is_what_many_images_come_to(coverage):
    traffic = coverage.Traffic(images=200_000, flips=0.1, attacks=3, shift=0.0)
    found = coverage.decision_cost(traffic.outcomes(1, np.random.default_rng(0)))
    assert float(found.lost) == pytest.approx(traffic.true_loss, abs=0.003)
