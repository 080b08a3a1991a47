from __future__ import annotations

from pathlib import Path

from arena.sandbox.cgroups import Group, find_parents, remove_left_over
from arena.sandbox.job import BoxLimits


def folder(path: Path, **files: str) -> Path:
    """A group as the kernel shows it."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in {"cgroup.procs": "", **files}.items():
        (path / name).write_text(text)
    return path


def second_version(root: Path) -> Path:
    """A machine with version 2: this process is in a session, whose parent gives controllers to its children."""
    own = root / "user.slice" / "session.scope"
    folder(root, **{"cgroup.subtree_control": "cpu memory pids"})
    folder(own.parent, **{"cgroup.subtree_control": "cpu memory pids"})
    folder(own, **{"cgroup.subtree_control": "", "cgroup.procs": "1\n"})
    (root / "own").write_text("0::/user.slice/session.scope\n")
    return own.parent


def test_version_2_is_used_where_children_have_the_controllers(tmp_path: Path):
    parent = second_version(tmp_path)
    parents = find_parents(tmp_path, own=tmp_path / "own")
    assert (parents.version, set(parents.folders.values())) == ("v2", {parent})


def test_the_limits_and_counts_of_version_2(tmp_path: Path):
    second_version(tmp_path)
    parents = find_parents(tmp_path, own=tmp_path / "own")
    group = parents.make(BoxLimits(memory_bytes=123, processes=7))
    (at,) = set(group.folders.values())
    assert [(at / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")] == ["123", "0", "7"]
    assert group.doors == (at / "cgroup.procs",)
    folder(
        at, **{"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.peak": "99\n", "memory.events": "oom_kill 1\n"}
    )
    assert (group.cpu_seconds(), group.peak_bytes(), group.out_of_memory()) == (1.5, 99, True)
    (at / "memory.events").write_text("oom 2\noom_kill 0\n")
    assert not group.out_of_memory()


def test_version_1_has_a_group_for_each_controller(tmp_path: Path):
    for kind in ("memory", "pids", "cpuacct"):
        folder(tmp_path / kind / "mine")
    (tmp_path / "own").write_text("3:cpu,cpuacct:/mine\n2:pids:/mine\n1:memory:/mine\n0::/\n")
    parents = find_parents(tmp_path, own=tmp_path / "own")
    assert parents.version == "v1"
    assert parents.folders == {kind: tmp_path / kind / "mine" for kind in ("memory", "pids", "cpuacct")}


def test_a_group_that_a_container_does_not_show_is_looked_for_at_the_root(tmp_path: Path):
    folder(tmp_path / "memory")
    (tmp_path / "own").write_text("1:memory:/docker/of-the-host\n")
    parents = find_parents(tmp_path, own=tmp_path / "own")
    assert parents.folders == {"memory": tmp_path / "memory"}
    assert parents.bounds("memory")
    assert not parents.bounds("pids")


def test_nothing_is_bounded_where_there_are_no_groups(tmp_path: Path):
    parents = find_parents(tmp_path, own=tmp_path / "own")
    assert (parents.version, dict(parents.folders)) == ("none", {})
    group = parents.make(BoxLimits())
    assert (group.doors, group.cpu_seconds(), group.peak_bytes(), group.out_of_memory()) == ((), None, None, False)
    group.end()


def test_groups_of_processes_that_are_gone_are_removed(tmp_path: Path):
    gone, here = tmp_path / "memory" / "arena-999999999-ab", tmp_path / "memory" / "arena-1-cd"
    (tmp_path / "own").write_text("1:memory:/\n")
    folder(tmp_path / "memory")
    for path in (gone, here):
        path.mkdir()
    assert remove_left_over(find_parents(tmp_path, own=tmp_path / "own")) == 1
    assert here.is_dir()
    assert not gone.exists()


def test_a_group_without_controllers_has_no_doors():
    assert Group(version="none", folders={}).doors == ()
