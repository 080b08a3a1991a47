from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from arena.contracts import SandboxUnavailable
from arena.sandbox import bubblewrap
from arena.sandbox.bubblewrap import Bubblewrap, cure
from arena.sandbox.job import BoxLimits, Job, Mount
from arena.sandbox.promises import try_all, works
from tests.sandbox.boxes import BUBBLEWRAP, needs_bubblewrap, shell

pytestmark = needs_bubblewrap


def left_over() -> list[Path]:
    """The groups of this process that still exist."""
    name = f"arena-{os.getpid()}-*"
    return [path for folder in BUBBLEWRAP.parents.folders.values() for path in folder.glob(name)]


def test_every_promise_holds_here():
    broken = [one for one in try_all(BUBBLEWRAP) if not one.holds]
    assert broken == []


def test_a_program_gets_its_input_and_leaves_result_output_and_exit_code():
    ended = shell("cat; echo aside >&2; exit 3", stdin=b"given")
    assert (ended.ending, ended.code, ended.result, ended.output) == ("exited", 3, b"given", "aside\n")
    assert not ended.well
    assert left_over() == []


def test_it_sees_what_is_mounted_and_cannot_write_there(tmp_path: Path):
    (tmp_path / "mine").write_text("hers")
    tmp_path.chmod(0o755)
    job = Job(
        argv=("/bin/sh", "-c", "cat /entry/mine; touch /entry/new || echo refused"),
        mounts=(Mount(host=tmp_path, inside="/entry"),),
        folder="/entry",
    )
    assert BUBBLEWRAP.start(job).wait().result == b"hersrefused\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_only_its_owner_may_read_stays_closed_even_where_it_is_mounted(tmp_path: Path):
    if not BUBBLEWRAP.as_root:
        pytest.skip("only root can run a program as another user")
    (tmp_path / "mine").touch(mode=0o600)
    tmp_path.chmod(0o755)
    job = Job(argv=("/bin/cat", "/entry/mine"), mounts=(Mount(host=tmp_path, inside="/entry"),))
    assert "Permission denied" in BUBBLEWRAP.start(job).wait().output


def test_nothing_of_the_hosts_environment_or_of_the_job_is_in_the_list_of_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOST_SECRET", "of the host")
    job = Job(argv=("/bin/sh", "-c", "env; echo ready; read -r line"), environment={"TOKEN": "of the match"})
    box = BUBBLEWRAP.start(job)
    listed = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    box.kill()
    environment = box.wait().result.decode()
    assert "HOST_SECRET" not in environment
    assert not any(b"of the match" in line for line in listed)


def test_what_passes_a_limit_is_ended_for_that_reason_and_the_beginning_of_its_output_is_kept():
    ended = shell("while :; do echo noise >&2; done", limits=BoxLimits(output_bytes=100_000, kept_bytes=10))
    assert (ended.ending, ended.output) == ("output", "noise\nnois")
    assert left_over() == []


def test_a_program_that_closes_its_pipes_and_ignores_signals_is_ended_all_the_same():
    script = "trap '' TERM INT HUP XCPU; exec >&- 2>&-; while :; do :; done"
    ended = shell(script, limits=BoxLimits(cpu_seconds=0.2, wall_seconds=20))
    assert ended.ending == "cpu time"
    assert left_over() == []


def test_killing_ends_the_program_and_what_it_started():
    box = BUBBLEWRAP.start(Job(argv=("/bin/sh", "-c", "setsid sleep 600 & sleep 600")))
    timer = threading.Timer(0.1, box.kill)
    timer.start()
    assert box.wait().ending == "stopped"
    timer.join()
    assert left_over() == []


def test_two_sandboxes_of_root_run_as_different_users():
    if not BUBBLEWRAP.as_root:
        pytest.skip("only root can run a program as another user")
    users = {shell("id -u").result for _ in range(3)}
    assert len(users) > 1
    assert b"0\n" not in users


def test_a_user_without_rights_gets_a_sandbox_too():
    if not BUBBLEWRAP.as_root:
        pytest.skip("the other tests run as such a user")
    inside = Bubblewrap(as_root=False)  # a user namespace, as for a user without rights
    script = "id -u; unshare --user true 2>/dev/null || echo refused"
    ended = inside.start(Job(argv=("/bin/sh", "-c", script))).wait()
    assert ended.result == b"65534\nrefused\n"


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bubblewrap, "PROGRAM", "no-such-program")
    with pytest.raises(SandboxUnavailable, match=r"no-such-program is not installed; Debian and Ubuntu have it"):
        works(BUBBLEWRAP)


@pytest.mark.parametrize(
    ("said", "advised"),
    [
        ("bwrap: setting up uid map: Permission denied", "AppArmor profile"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor profile"),
        ("bwrap: Creating new namespace failed: Operation not permitted", "seccomp=unconfined"),
        ("bwrap: No permissions to create new namespace, likely because the kernel does not allow", "administrator"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
        ("bwrap: execvp true: No such file or directory", ""),
    ],
)
def test_knows_the_cure_for_messages_of_other_systems(said: str, advised: str):
    """Recorded from bug reports; not tried on these systems."""
    assert (advised in cure(said)) if advised else cure(said) == ""
