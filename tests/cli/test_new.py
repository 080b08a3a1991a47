from __future__ import annotations

from pathlib import Path

import pytest

from arena.cli.new import class_name, entry_files
from arena.conformance.checking import check_player
from arena.conformance.elsewhere import Elsewhere
from arena.contracts import Spec
from arena.match.site import Site
from arena.registry import Role, complete
from tests.cli.arena import Arena

STARTERS = Path(__file__).parents[2] / "agents"
ROLES: tuple[Role, ...] = ("attack", "defense")


@pytest.mark.parametrize("role", ROLES)
def test_the_starter_kit_is_what_new_writes(role: Role):
    folder = STARTERS / f"starter_{role}"
    kept = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert kept == entry_files(role, folder.name, Path("agents") / folder.name)


def test_brackets_in_a_folder_are_said_as_they_are(arena: Arena):
    ended = arena("new", "attack", "greedy_one", "--to", "mine[/b]")
    assert ended.code == 0
    assert "mine[/b]/greedy_one/: put your idea into agent.py" in ended.out


@pytest.mark.parametrize("role", ROLES)
def test_writes_an_entry_that_plays_and_says_what_to_do_next(role: Role, arena: Arena):
    ended = arena("new", role, "greedy_one", "--to", "mine")
    assert ended.code == 0
    assert "arena check mine/greedy_one" in ended.out
    assert f"arena play --{role} mine/greedy_one" in ended.out
    assert sorted(path.name for path in Path("mine/greedy_one").iterdir()) == ["README.md", "agent.py", "agent.toml"]
    for path in Path("mine/greedy_one").iterdir():
        assert "starter" not in path.read_text().lower()
    parameter = "steps=20" if role == "attack" else "temperature=3"
    played = arena(
        "play",
        "--victim",
        "digits(arch=mlp,steps=100)",
        "--attack",
        "knockoff(steps=20)",
        "--steps",
        20,
        "--budget",
        20,
        f"--{role}",
        f"mine/greedy_one({parameter})",
    )
    assert played.code == 0, played.err
    assert "greedy_one" in played.out


@pytest.mark.parametrize("role", ROLES)
def test_what_it_writes_passes_every_check(role: Role, site: Site, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for file, text in entry_files(role, "mine", folder).items():
        (folder / file).write_text(text)
    params = (("steps", 20),) if role == "attack" else ()
    with Elsewhere() as elsewhere:
        spec = complete(role, Spec(name=str(folder), params=params))
        findings = check_player(role, spec, site, seed=0, elsewhere=elsewhere)
    assert [finding for finding in findings if not finding.passed] == []


def test_an_existing_folder_is_not_touched(arena: Arena):
    Path("agents/mine").mkdir(parents=True)
    ended = arena("new", "attack", "mine")
    assert ended.code == 2
    assert "exists already" in ended.err
    assert list(Path("agents/mine").iterdir()) == []


@pytest.mark.parametrize("name", ["My_Attack", "my-attack", "1st", "a__b", "../up", "a/b", "", "_a"])
def test_refuses_a_name_that_is_no_name_and_writes_nothing(arena: Arena, name: str):
    ended = arena("new", "attack", name)
    assert ended.code == 2
    assert "cannot name an entry" in ended.err
    assert list(Path().iterdir()) == []


def test_refuses_a_place_that_cannot_be_written(arena: Arena):
    Path("taken").write_text("a file")
    ended = arena("new", "attack", "mine", "--to", "taken")
    assert ended.code == 2
    assert "cannot write taken/mine" in ended.err


@pytest.mark.parametrize(
    ("name", "kind"), [("my_attack", "MyAttack"), ("attack", "AttackAttack"), ("two_words", "TwoWordsAttack")]
)
def test_a_class_is_named_after_its_entry_and_shadows_nothing(name: str, kind: str):
    assert class_name("attack", name) == kind
