from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from arena.contracts import BadParameter, Spec
from arena.entries.stage import PREFIX, moved, remove_left_over, staged
from arena.registry import entries_in
from arena.registry.entries import MAX_FILES, entry_files
from tests.entries.entries import attack


def test_a_copy_is_readable_by_everybody_inside_and_by_nobody_else_outside(tmp_path: Path):
    spec = attack(tmp_path / "mine")
    (tmp_path / "mine" / "inner").mkdir(mode=0o700)
    (tmp_path / "mine" / "inner" / "data").touch(mode=0o600)
    with staged(spec) as stage:
        (copied,) = (stage.folder / "entries").iterdir()
        assert stat.S_IMODE(stage.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((copied / "inner").stat().st_mode) == 0o755
        assert stat.S_IMODE((copied / "inner" / "data").stat().st_mode) == 0o644
        assert stage.places == {spec.name: f"/entries/{copied.name}"}
    assert not stage.folder.exists()


def test_entries_are_moved_wherever_they_are_in_a_spec(tmp_path: Path):
    inner = attack(tmp_path / "mine")
    spec = Spec(name="argmax", params=(("base", inner), ("others", (inner, Spec(name="knockoff")))))
    assert entries_in(spec) == [inner.name, inner.name]
    there = moved(spec, {inner.name: "/entries/0"})
    assert there.params == (
        ("base", Spec(name="/entries/0")),
        ("others", (Spec(name="/entries/0"), Spec(name="knockoff"))),
    )


def links(folder: Path) -> None:
    (folder / "shadow").symlink_to("/etc/shadow")


def links_a_folder(folder: Path) -> None:
    (folder / "host").symlink_to("/")


def waits(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def floods(folder: Path) -> None:
    for number in range(MAX_FILES):
        (folder / f"{number}").touch()


def is_large(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)  # without any data


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (links, "shadow is a link or no regular file"),
        (links_a_folder, "host is a link or no regular file"),
        (waits, "pipe is a link or no regular file"),
        (floods, "this one has more"),
        (is_large, "this one has more"),
    ],
)
def test_a_folder_with_anything_but_a_few_files_is_refused_before_it_is_read(tmp_path: Path, bad: object, reason: str):
    spec = attack(tmp_path / "mine")
    assert len(entry_files(Path(spec.name))) == 2
    assert callable(bad)
    bad(Path(spec.name))
    with pytest.raises(BadParameter, match=reason), staged(spec):
        pass


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    gone, here = tmp_path / f"{PREFIX}999999999-ab", tmp_path / f"{PREFIX}{os.getpid()}-cd"
    for folder in (gone, here):
        folder.mkdir()
    assert remove_left_over(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [here.name]
