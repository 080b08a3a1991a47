"""What people bring on the command line: every mistake is one line and exit code 2, and what was read is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.arena import Arena, Ended
from tests.data.test_image_folders import written

TERMS = "(arch=linear,steps=5,side=8)"


def play(arena: Arena, victim: str, *more: object) -> Ended:
    return arena("play", "--victim", victim, "--attack", "knockoff(steps=2)", "--budget", 4, "--steps", 2, *more)


def one_line(ended: Ended) -> str:
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    lines = [line for line in ended.err.splitlines() if line.strip() and not line.startswith("data: ")]
    assert len(lines) == 1, ended.err
    return lines[0]


@pytest.mark.parametrize("name", ["föö bär (1)", "a [1] b", "ein Ordner", "日本", "it's"])
@pytest.mark.parametrize("terms", [TERMS, f" {TERMS}"])
def test_a_folder_of_any_name_is_played(name: str, terms: str, arena: Arena):
    written(Path(name), "çats", "d o g s")
    ended = play(arena, f"image-folder:{name}{terms}")
    assert ended.code == 0, ended.err
    assert "2 classes: d o g s 12, çats 12" in ended.err


def test_classes_and_a_wrong_level_are_shown_before_a_match_and_a_run(arena: Arena):
    for part in ("train", "val"):
        written(Path("set") / part, "cats", "dogs")
    ended = play(arena, f"image-folder:set{TERMS}")
    assert ended.code == 0, ended.err
    assert "2 classes: train" in ended.err
    assert "or give set/train, whose folders are cats, dogs" in " ".join(ended.err.split())
    Path("t.toml").write_text(
        'name = "t"\nvictims = [{ name = "image-folder:set/train", arch = "linear", steps = 5, side = 8 }]\n'
        'attacks = [{ name = "knockoff", steps = 2 }]\ndefenses = ["none"]\nbudgets = [4]\nseeds = 1\n'
        "recipe = { steps = 2 }\n"
    )
    ended = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out")
    assert ended.code == 0, ended.err
    assert "2 classes: cats 12, dogs 12" in ended.err


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n and no more"])
def test_a_damaged_picture_is_one_line(content: bytes, arena: Arena):
    written(Path("pets"), "cats", "dogs")
    (Path("pets") / "dogs" / "003.png").write_bytes(content)
    assert "pets/dogs/003.png" in one_line(play(arena, f"image-folder:pets{TERMS}"))


def test_a_class_that_vanishes_is_said_before_the_match(arena: Arena):
    written(Path("pets"), "cats", "dogs", "tigers")
    for file in (Path("pets") / "tigers").iterdir():
        shutil.copy(Path("pets") / "cats" / file.name, file)
    ended = play(arena, f"image-folder:pets{TERMS}")
    assert ended.code == 0, ended.err
    assert "no row is left of tigers" in ended.err


def test_what_is_shown_leaves_json_alone(arena: Arena):
    written(Path("pets"), "cats", "dogs")
    ended = play(arena, f"image-folder:pets{TERMS}", "--json")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("{")


def table(name: str = "people.csv", **changes: list[object]) -> None:
    rows = {
        "age": list(range(24)),
        "town": ["Ulm", "Bonn", "Köln"] * 8,
        "risk": ["low", "high", "low"] * 8,
        **changes,
    }
    lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["people.csv", "meine Daten (1).csv"])
def test_a_table_is_played_and_its_columns_are_shown(name: str, arena: Arena):
    table(name)
    ended = play(arena, f"table:{name}(label=risk,steps=5)")
    assert ended.code == 0, ended.err
    assert "2 classes: high 8, low 16" in ended.err
    assert "one-hot encoded: town (3)" in ended.err


@pytest.mark.parametrize(
    ("pool", "defense"),
    [("same", "adaptive-misinformation(steps=2)"), ("near", "adaptive-misinformation(steps=2)"), ("far", "mad"),
     ("universe", "rounding")],
)  # fmt: skip
def test_a_table_plays_with_every_pool_and_with_trained_defenses(pool: str, defense: str, arena: Arena):
    table()
    victim = "table:people.csv(label=risk,steps=5,drop=['town'])"
    ended = play(arena, victim, "--pool", pool, "--defense", defense)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("victim", "changes", "said"),
    [
        ("table:people.csv", {}, "needs the column of its classes, as in label = 'risk'"),
        ("table:people.csv(label=rsk)", {}, "did you mean 'risk'?"),
        ("table:people.csv(label=risk,side=8)", {}, "side and grey do not apply"),
        ("table:nowhere.csv(label=risk)", {}, "there is no table nowhere.csv"),
        ("table:people.csv(label=risk)", {"age": ["", "", *range(22)]}, "missing values in: age (2)"),
        ("table:people.csv(label=risk)", {"age": ["x,,,", *range(23)]}, "more values than its first line"),
        ("table:people.csv(label=risk)", {"age": [*range(23), "x,,,"]}, "cannot be read as a table"),
        ("digits(label=risk)", {}, "label and drop are for tables of your own"),
        ("table:people.csv(label=risk,drop=town)", {}, "drop = 'town' is not"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    victim: str, changes: dict[str, list[object]], said: str, arena: Arena
):
    table(**changes)
    assert said in one_line(play(arena, victim))
