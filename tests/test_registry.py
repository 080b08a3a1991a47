from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Generator, nn

from arena.contracts import (
    UNDEFENDED,
    Attack,
    AttackContext,
    BadParameter,
    Defense,
    Oracle,
    Parameter,
    Spec,
    UnknownName,
    spec_from_json,
    to_json,
)
from arena.defenses.none import NoDefense
from arena.defenses.rounding import Rounding
from arena.learning.tensors import digest_of
from arena.payoff.matrix import label
from arena.referee.tournament_file import read_tournament
from arena.registry import (
    ATTACKS,
    Registered,
    Role,
    build_attack,
    build_defense,
    code_digest,
    complete,
    entry_folder,
    folder_digest,
    manifest,
    names,
    player_class,
    player_defaults,
)
from arena.registry.builtins import TABLES
from tests.defenses.toy import deployed, inputs
from tests.players import every

ATTACK = """
from dataclasses import dataclass
from arena.contracts import Attack
{imports}

@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    rows: int = 3

    def extract(self, oracle, context, *, rng):
        return None
"""


def entry(folder: Path, *, code: str = ATTACK.format(imports=""), toml: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(toml or 'name = "mine"\nrole = "attack"\nentry = "agent:Mine"\n')
    (folder / "agent.py").write_text(code)
    return folder


def spec(name: str, **params: Parameter) -> Spec:
    return Spec(name=name, params=tuple(sorted(params.items())))


@pytest.mark.parametrize("role", ["attack", "defense"])
def test_every_name_builds_the_same_player_twice(role: Role):
    build = build_attack if role == "attack" else build_defense
    for one in every(role):
        assert build(one) == build(one)
        assert complete(role, one) == complete(role, complete(role, one))
        assert code_digest(role, one) == code_digest(role, one)
    assert len(every(role)) == len(names(role)) > 5


def test_a_name_may_preset_fields():
    assert player_class("attack", "jbda").kind is player_class("attack", "jbda-tr").kind
    assert build_attack(spec("jbda")) != build_attack(spec("jbda-tr"))
    assert build_defense(spec("mad-argmax")) == build_defense(spec("mad-argmax", argmax=True))
    with pytest.raises(BadParameter, match="mad-argmax stands for argmax = True"):
        build_defense(spec("mad-argmax", argmax=False))


class TestVersions:
    def test_a_bare_name_is_stored_as_its_newest_version(self):
        assert complete("attack", spec("knockoff")).full_name == "knockoff@1"
        assert complete("attack", Spec.named("knockoff@1")) == complete("attack", spec("knockoff"))
        assert to_json(complete("attack", spec("argmax", base="jbda"))) == {
            "name": "argmax@1",
            "base": {"name": "jbda@1"},
        }

    def test_a_stored_name_comes_back_with_its_version(self):
        full = complete("defense", spec("mad", epsilon=0.5))
        assert spec_from_json(to_json(full)) == full

    def test_an_older_version_stays_playable_under_its_number(self, monkeypatch: pytest.MonkeyPatch):
        newer = Registered(where="arena.attacks.uniform_noise:UniformNoise", version=2)
        table = {**ATTACKS, "knockoff": newer, "knockoff@1": ATTACKS["knockoff"]}
        monkeypatch.setitem(TABLES, "attack", table)  # type: ignore[arg-type]  # a mapping of tables by role
        assert type(build_attack(spec("knockoff"))).__name__ == "UniformNoise"
        assert type(build_attack(Spec.named("knockoff@1"))).__name__ == "KnockoffNets"
        assert label(complete("attack", Spec.named("knockoff@1"))) == "knockoff@1"
        assert label(complete("attack", spec("knockoff"))) == "knockoff"

    def test_older_versions_play_by_their_number_and_are_not_listed(self):
        assert build_attack(Spec.named("knockoff-adaptive@1")) != build_attack(spec("knockoff-adaptive"))
        assert complete("attack", Spec.named("knockoff-adaptive@1")).full_name == "knockoff-adaptive@1"
        assert not [name for role in TABLES for name in names(role) if "@" in name]

    def test_a_version_that_is_not_in_this_release_is_refused(self):
        with pytest.raises(UnknownName, match="knockoff has no version 7 in this release; its newest is knockoff@1"):
            build_attack(Spec.named("knockoff@7"))

    def test_the_undefended_player_is_the_newest_none(self):
        assert complete("defense", spec("none")) == UNDEFENDED

    def test_a_folder_has_none(self, tmp_path: Path):
        assert complete("attack", spec(str(entry(tmp_path / "mine@2")))).version is None


def test_a_base_is_a_player_or_its_name():
    full = complete("attack", spec("argmax", base=spec("knockoff", steps=20)))
    assert dict(full.params)["base"] == complete("attack", spec("knockoff", steps=20))
    assert complete("attack", spec("argmax", base="jbda")) == complete("attack", spec("argmax", base=spec("jbda")))


@dataclass(frozen=True, kw_only=True)
class Holding(Attack):
    base: Attack | None = None
    candidates: tuple[Defense, ...] = ()

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        raise NotImplementedError


class TestAPlayerThatHoldsOthers:
    @pytest.fixture(autouse=True)
    def registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        preset: Parameter = (spec("rounding", decimals=2), spec("none"))
        table = {
            **ATTACKS,
            "holding": Registered(where=f"{__name__}:Holding"),
            "preset": Registered(where=f"{__name__}:Holding", preset={"candidates": preset}),
            "default": Registered(where=f"{__name__}:Holding", default={"candidates": preset}),
        }
        monkeypatch.setitem(TABLES, "attack", table)  # type: ignore[arg-type]  # a mapping of tables by role

    def test_builds_each_from_a_spec_or_a_bare_name(self):
        full = complete("attack", spec("holding", candidates=("none", spec("rounding", decimals=2))))
        assert build_attack(full) == Holding(candidates=(NoDefense(), Rounding(decimals=2)))
        assert build_attack(spec("preset")) == Holding(candidates=(Rounding(decimals=2), NoDefense()))

    def test_holds_a_names_defaults_unless_its_spec_has_others(self):
        assert build_attack(spec("default")) == Holding(candidates=(Rounding(decimals=2), NoDefense()))
        assert build_attack(spec("default", candidates=(spec("none"),))) == Holding(candidates=(NoDefense(),))
        assert code_digest("attack", spec("default")) != code_digest("attack", spec("holding"))
        assert code_digest("attack", spec("default")) == code_digest("attack", spec("preset"))

    def test_refuses_what_is_no_player_of_the_role(self):
        with pytest.raises(UnknownName, match="no defense is called 'knockoff'"):
            complete("attack", spec("holding", candidates=("knockoff",)))
        with pytest.raises(BadParameter, match="candidates"):
            complete("attack", spec("holding", candidates=3))

    def test_is_another_player_when_one_that_it_holds_is(self):
        one, other = (spec("holding", candidates=(spec(name),)) for name in ("rounding", "top-k"))
        assert code_digest("attack", one) != code_digest("attack", other)


@pytest.mark.parametrize(
    ("player", "said"),
    [
        (spec("knockof"), "did you mean 'knockoff'"),
        (spec("argmax", base="knockof"), "did you mean 'knockoff'"),
        (spec("xyz"), "arena list"),
        (spec("none"), "no attack is called 'none'"),
        (spec("no/such/folder"), "there is no no/such/folder/agent.toml; `arena new`"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(player: Spec, said: str):
    with pytest.raises(UnknownName, match=said):
        complete("attack", player)


@pytest.mark.parametrize(
    ("player", "said"),
    [
        (spec("knockoff", stepz=1), "has no parameter 'stepz' .did you mean 'steps'"),
        (spec("knockoff", steps="many"), "steps = 'many' is not"),
        (spec("knockoff", steps=True), "steps = True is not"),
        (spec("jbda", step="far"), "step = 'far' is not"),
        (spec("jbda", seeds=2.5), "seeds = 2.5 is not"),
        (spec("equation-solving", design="best"), "one of 'mixed', 'uniform', 'pool'"),
        (spec("equation-solving", n_check=0), "n_check = 0 must be at least 1"),
        (spec("argmax"), "argmax needs base"),
        (spec("argmax", base=3), "base = 3 is not"),
    ],
)
def test_a_parameter_that_it_lacks_or_a_value_it_cannot_have_is_refused(player: Spec, said: str):
    with pytest.raises(BadParameter, match=said):
        complete("attack", player)


def test_a_whole_number_may_stand_for_a_float():
    assert build_defense(spec("mad", epsilon=1)) == build_defense(spec("mad", epsilon=1.0))


class TestAnEntry:
    def test_is_named_by_its_folder_and_known_by_its_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        folder = entry(tmp_path / "mine")
        full = complete("attack", spec(str(folder), rows=5))
        assert (full.name, full.digest) == (str(folder), folder_digest(folder))
        assert repr(build_attack(full)) == "Mine(rows=5)"
        monkeypatch.chdir(tmp_path)
        assert complete("attack", spec("mine", rows=5)) == full
        assert complete("attack", spec("./mine", rows=5)) == full

    def test_that_was_edited_is_another_one(self, tmp_path: Path):
        folder = entry(tmp_path / "mine")
        before = complete("attack", spec(str(folder))).digest, code_digest("attack", spec(str(folder)))
        (folder / "agent.py").write_text(ATTACK.format(imports="").replace("rows: int = 3", "rows: int = 4"))
        assert repr(build_attack(spec(str(folder)))) == "Mine(rows=4)"
        after = complete("attack", spec(str(folder))).digest, code_digest("attack", spec(str(folder)))
        assert before[0] != after[0]
        assert before[1] != after[1]

    def test_may_have_modules_of_the_same_name_as_another_one(self, tmp_path: Path):
        for name, rows in (("one", 1), ("two", 2)):
            code = ATTACK.format(imports="from .sampling import ROWS").replace("= 3", "= ROWS")
            (entry(tmp_path / name, code=code) / "sampling.py").write_text(f"ROWS = {rows}")
        built = [repr(build_attack(spec(str(tmp_path / name)))) for name in ("one", "two")]
        assert built == ["Mine(rows=1)", "Mine(rows=2)"]

    def test_is_not_hidden_by_compiled_files(self, tmp_path: Path):
        folder = entry(tmp_path / "mine")
        before = folder_digest(folder)
        build_attack(spec(str(folder)))
        assert folder_digest(folder) == before

    def test_of_the_other_role_is_refused(self, tmp_path: Path):
        with pytest.raises(BadParameter, match="an entry for the role 'attack'; a defense is needed"):
            build_defense(spec(str(entry(tmp_path / "mine"))))

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("class Mine: pass", "not a class derived from arena.contracts.Attack"),
            ("x = 1", "not a class derived"),
            ("def f(:", "agent.py cannot be imported: SyntaxError"),
            ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
            (ATTACK.format(imports="").replace("frozen=True, ", ""), r"must be a dataclass\(frozen=True"),
            (ATTACK.format(imports="").replace("@dataclass(frozen=True, kw_only=True)", ""), "must be a dataclass"),
            (ATTACK.format(imports="").replace("def extract", "def other"), "abstract"),
        ],
    )
    def test_whose_code_is_no_player_is_refused(self, code: str, said: str, tmp_path: Path):
        folder = entry(tmp_path / "mine", code=code)
        with pytest.raises(BadParameter, match=said):
            build_attack(spec(str(folder)))

    @pytest.mark.parametrize(
        "toml",
        [
            'name = "mine"',
            'name = "mine"\nrole = "judge"\nentry = "agent:Mine"',
            'name = "mine"\nrole = "attack"\nentry = "agent"',
            'name = "mine"\nrole = "attack"\nentry = 3',
            'name = "mine"\nrole = "attack"\nentry = "agent:Mine"\nextra = 1',
            "name = ",
        ],
    )
    def test_whose_manifest_is_wrong_is_told_so(self, toml: str, tmp_path: Path):
        folder = entry(tmp_path / "mine", toml=toml)
        with pytest.raises(BadParameter, match=r"agent\.toml"):
            manifest(folder)


def test_a_folder_that_is_no_entry_does_not_hide_a_built_in_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("knockoff").mkdir()
    assert entry_folder("knockoff") is None
    assert build_attack(spec("knockoff")) == build_attack(spec("knockoff", arch="auto"))


def test_no_defense_stands_twice_under_two_names():
    """By default, and with the posteriors alone: a detector that has not fired answers as the victim does."""
    names_of_rows: dict[str, str] = {}
    for name in ("label-only", "top-k", "rounding", "gaussian-noise", "gaussian-noise-fresh", "reverse-sigmoid"):
        rows = digest_of([deployed(build_defense(spec(name)))(inputs())])
        assert names_of_rows.setdefault(rows, name) == name


def guessed() -> list[Spec]:
    found = player_defaults("attack", "recovery-network")["guesses"]
    assert isinstance(found, tuple)
    assert found == player_defaults("attack", "recovery-table")["guesses"]
    return [one for one in found if isinstance(one, Spec)]


@pytest.mark.parametrize("guess", guessed(), ids=lambda guess: f"{guess.name} {dict(guess.params)}")
def test_a_blind_guess_is_never_the_defense_that_is_played(guess: Spec):
    built = build_defense(guess)
    assert built != build_defense(Spec(name=guess.name))
    assert type(built).sweep is not None
    swept, points = type(built).sweep or ("", ())
    assert getattr(built, swept) not in points
    assert built not in [build_defense(one) for one in shipped_defenses()]


def shipped_defenses() -> list[Spec]:
    """The defenses of every tournament that ships with the source."""
    root = Path(__file__).parents[1]
    files = [*root.glob("arena/tournaments/*.toml"), *root.glob("benchmarks/tournaments/**/*.toml")]
    assert len(files) > 5
    return [one.spec for file in files for one in read_tournament(file).defenses]
