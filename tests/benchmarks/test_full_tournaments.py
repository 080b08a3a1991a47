"""The full-size tournaments are read, admitted and played, on a dozen images in the very files of each data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import Matchup, Recipe, Spec
from arena.match import reference
from arena.match.admission import admit
from arena.match.play import play
from arena.match.site import Site
from arena.referee.tournament_file import read_tournament
from arena.registry import build_attack, build_defense
from tests.data import miniature
from tests.players import small

FULL = Path(__file__).parents[2] / "benchmarks" / "tournaments" / "full"
FILES = sorted(FULL.glob("*.toml"))
BUDGET = 8


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    miniature.write_cifar(tmp_path, "cifar-10", monkeypatch)
    miniature.write_cifar(tmp_path, "cifar-100", monkeypatch)
    miniature.write_flowers(tmp_path, monkeypatch)
    miniature.write_image_folder(tmp_path / "data" / "CUB_200_2011" / "images")
    monkeypatch.chdir(tmp_path)  # where the folder of CUB-200's images is looked for
    return tmp_path


def matchups(file: Path) -> list[Matchup]:
    """Every pair of attack and defense of a tournament on its first pool and seed, with few rows and few steps."""
    tournament = read_tournament(file)
    return [
        replace(
            matchup,
            victim=tiny(matchup.victim, steps=2),
            attack=tiny(matchup.attack, **dict(small("attack", matchup.attack.name).params)),
            defense=tiny(matchup.defense, **dict(small("defense", matchup.defense.name).params)),
            budget=BUDGET,
            recipe=Recipe(arch="mlp", steps=2),
        )
        for matchup in tournament.matchups()
        if matchup.seed == tournament.seeds[0] and matchup.pool == tournament.pools[0].kind
    ]


def tiny(spec: Spec, **params: object) -> Spec:
    kept = {key: value for key, value in spec.params if key not in params}
    return replace(spec, params=tuple(sorted({**kept, **params}.items())))


def test_there_is_one_for_each_of_the_seeds_data_sets():
    assert [file.stem for file in FILES] == ["cifar-10", "cifar-100", "cub-200", "flowers-102"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_matchup_is_admitted(file: Path, data: Path):
    site = Site(work=data / "work", cache=data / "cache", data=data)
    found = matchups(file)
    assert len(found) == 3 * 16
    for matchup in found:
        admit(matchup, build_attack(matchup.attack), build_defense(matchup.defense), site)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_match_is_played_against_each_defense(file: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reference, "UNIFORM_ROWS", 64)
    site = Site(work=data / "work", cache=data / "cache", data=data)
    knockoff = {matchup.defense.name: matchup for matchup in matchups(file) if matchup.attack.name == "knockoff"}
    for name, whole in knockoff.items():
        arch = "resnet18" if name == "none" else "small-cnn"  # a defended ResNet-18 takes a minute even here
        matchup = replace(whole, victim=tiny(whole.victim, arch=arch, side=16))
        attack, defense = build_attack(matchup.attack), build_defense(matchup.defense)
        result = play(matchup, attack=attack, defense=defense, site=site)
        assert result.verdict.outcome == "completed", result.verdict
        assert 0 < result.rows <= BUDGET
