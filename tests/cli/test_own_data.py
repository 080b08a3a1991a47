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
