from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.contracts import BadParameter, Knowledge, Recipe, Spec, UnknownName, UsageError, matchup_id
from arena.referee.tables import to_toml
from arena.referee.tournament import Resources, SeededVictim, Share, Tournament
from arena.referee.tournament_file import KEYS, read_tournament, to_table, tournament_from

LEAST: dict[str, Any] = {
    "name": "t",
    "victims": ["digits"],
    "attacks": ["knockoff"],
    "defenses": ["none"],
    "budgets": [9],
}
EVERYTHING = """
name = "every \\"key\\""
secret = "stated"
victims = [{ name = "digits", arch = "mlp", steps = 100, seed = 3 }, "iris"]
attacks = ["knockoff", { name = "argmax", base = { name = "jbda", step = 0.2 } }]
defenses = ["none", { name = "mad", epsilon = 0.25, surrogate = "same-architecture", outliers = "far", outlier_source = "noise" }]
pools = ["same", { kind = "near", source = "glyphs" }]
budgets = [20, 40]
seeds = [1, 5]
informed = [false, true]
accounts = 2
explanation = { name = "gradient-input" }
explanation_price = 3
decimals = 4
recipe = { arch = "mlp", steps = 30 }
curve = [10, 30]
threats = ["evasion", { name = "evasion", steps = 5 }]
threat_budget = 60

[limits]
play = 60
score = 1.5

[resources]
oracle = { cpus = 0.5 }
attack = { cpus = 1, gpus = 0.25, custom = { node = 0.1 } }
oracles = 2
slots = 3
"""


def read(table: dict[str, Any]) -> Tournament:
    return tournament_from(table, where="t.toml", folder=Path())


def test_every_key_is_read():
    tournament = read(tomllib.loads(EVERYTHING))
    assert set(tomllib.loads(EVERYTHING)) == set(KEYS)
    assert tournament.name == 'every "key"'
    assert tournament.victims == (
        SeededVictim(victim=Spec(name="digits", params=(("arch", "mlp"), ("steps", 100))), seed=3),
        SeededVictim(victim=Spec(name="iris"), seed=0),
    )
    jbda = Spec(name="jbda", version=1, params=(("step", 0.2),))
    assert tournament.attacks[1] == Spec(name="argmax", version=1, params=(("base", jbda),))
    assert tournament.defenses[0].knowledge == Knowledge()
    assert tournament.defenses[1].knowledge == Knowledge(
        surrogate="same-architecture", outliers="far", outlier_source="noise"
    )
    assert [(pool.kind, pool.source) for pool in tournament.pools] == [("same", ""), ("near", "glyphs")]
    assert (tournament.budgets, tournament.seeds, tournament.informed) == ((20, 40), (1, 5), (False, True))
    assert (tournament.accounts, tournament.explanation_price, tournament.decimals) == (2, 3, 4)
    assert tournament.explanation == Spec(name="gradient-input", version=1)
    evasion = Spec(name="evasion", version=1)
    assert tournament.threats == (evasion, replace(evasion, params=(("steps", 5),)))
    assert tournament.threat_budget == 60
    assert tournament.recipe == Recipe(arch="mlp", steps=30)
    assert tournament.secret == "stated"
    assert dict(tournament.limits) == {"play": 60.0, "score": 1.5}
    assert tournament.resources == Resources(
        oracle=Share(cpus=0.5), attack=Share(cpus=1.0, gpus=0.25, custom=(("node", 0.1),)), oracles=2, slots=3
    )


def test_a_defense_is_given_what_it_needs_or_wants_unless_something_else_is_declared():
    defenses = ["isolation-induction", "adaptive-misinformation", {"name": "diverse-ensemble", "outliers": "none"}]
    terms = read({**LEAST, "defenses": defenses}).defenses
    assert [one.knowledge for one in terms] == [Knowledge(outliers="far"), Knowledge(outliers="far"), Knowledge()]


def test_the_grid_is_the_product_with_seeds_innermost():
    matchups = read(tomllib.loads(EVERYTHING)).matchups()
    assert len({matchup_id(matchup) for matchup in matchups}) == len(matchups) == 2**7
    assert [matchup.seed for matchup in matchups[:4]] == [1, 5, 1, 5]
    assert {matchup.curve for matchup in matchups if matchup.budget == 20} == {(10,)}


@pytest.mark.parametrize(
    "file",
    sorted((Path(__file__).parents[2] / "benchmarks" / "tournaments").glob("*.toml")),
    ids=lambda file: file.stem,
)
def test_the_tournaments_of_the_benchmarks_are_read(file: Path):
    tournament = read_tournament(file)
    assert tournament.name == file.stem
    assert tournament.matchups()


def test_what_is_left_out_has_a_default():
    tournament = read(LEAST)
    assert tournament.seeds == (0, 1, 2, 3, 4)
    assert [pool.kind for pool in tournament.pools] == ["same"]
    assert tournament.informed == (False,)
    assert read({**LEAST, "seeds": 2}).seeds == (0, 1)


@pytest.mark.parametrize("table", [LEAST, tomllib.loads(EVERYTHING)], ids=["least", "everything"])
def test_is_written_as_it_is_read(table: dict[str, Any]):
    tournament = read(table)
    written = to_toml(to_table(tournament))
    assert read(tomllib.loads(written)) == tournament
    assert to_toml(to_table(read(tomllib.loads(written)))) == written


def test_a_defense_knows_the_least_that_it_needs_unless_it_is_said():
    (terms,) = read({**LEAST, "defenses": ["mad"]}).defenses
    assert terms.knowledge == Knowledge(surrogate="random")


def test_an_entry_is_looked_for_beside_the_file(tmp_path: Path):
    folder = tmp_path / "mine" / "greedy"
    folder.mkdir(parents=True)
    starter = Path(__file__).parents[2] / "agents" / "starter_attack"
    for file in ("agent.toml", "agent.py"):
        (folder / file).write_text((starter / file).read_text())
    table = {**LEAST, "attacks": [{"path": "mine/greedy", "steps": 7}]}
    (spec,) = tournament_from(table, where="t", folder=tmp_path).attacks
    assert (spec.name, dict(spec.params), len(spec.digest)) == (str(folder), {"steps": 7}, 16)
    with pytest.raises(UnknownName, match="no entry in 'mine/greedy'"):
        read(table)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgetz": [1]}, "unknown key 'budgetz' .did you mean 'budgets'"),
        ({"xyz": 1}, "unknown key 'xyz'; the known keys are name, victims"),
        ({"name": ""}, "name must be a non-empty string"),
        ({"name": 3}, "name must be a non-empty string"),
        ({"victims": []}, "victims must be a list of at least one, as in"),
        ({"victims": "digits"}, "victims must be a list of at least one"),
        ({"victims": [3]}, "a player must be a name, or a table with a name"),
        ({"victims": [{"arch": "mlp"}]}, "a player must be a name, or a table with a name"),
        ({"victims": [{"name": "digits", "seed": -1}]}, "seed must be a whole number of at least 0, not -1"),
        ({"attacks": ["knockof"]}, "did you mean 'knockoff'"),
        ({"attacks": [{"name": "knockoff", "stepz": 1}]}, "did you mean 'steps'"),
        ({"defenses": ["madd"]}, "no defense is called 'madd'"),
        ({"defenses": [{"name": "mad", "surrogate": "psychic"}]}, "surrogate = 'psychic' must be one of none, random"),
        ({"pools": ["sam"]}, "'same'"),
        ({"pools": [{"kind": "near", "sauce": "glyphs"}]}, "unknown key 'sauce' .did you mean 'source'"),
        ({"pools": [3]}, "pools"),
        ({"pools": "same"}, "pools"),
        ({"pools": []}, "pools"),
        ({"budgets": [0]}, "budgets must be whole numbers of at least 1"),
        ({"budgets": [-3]}, "budgets"),
        ({"budgets": [2.5]}, "budgets"),
        ({"budgets": [True]}, "budgets"),
        ({"budgets": 100}, "budgets"),
        ({"budgets": None}, "budgets"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": []}, "seeds"),
        ({"informed": "yes"}, "informed must be true, false"),
        ({"accounts": 0}, "accounts"),
        ({"explanation_price": -1}, "explanation_price"),
        ({"decimals": -1}, "decimals"),
        ({"decimals": "two"}, "decimals"),
        ({"recipe": {"step": 3}}, "unknown key 'step' .did you mean 'steps'"),
        ({"recipe": {"steps": "many"}}, "steps = 'many' is not"),
        ({"recipe": {"steps": 0}}, "steps must be at least 1, not 0"),
        ({"recipe": 7}, "recipe must be a table, not 7"),
        ({"curve": [0]}, "curve"),
        ({"curve": 10}, "curve"),
        ({"limits": {"plai": 3}}, "did you mean 'play'"),
        ({"limits": {"replays": -1}}, "replays must be whole numbers of at least 0"),
        ({"limits": {"replays": 1.5}}, "replays must be whole numbers of at least 0"),
        ({"limits": {"play": 0}}, "play must be more than 0 seconds"),
        ({"limits": {"play": "long"}}, "play must be more than 0 seconds"),
        ({"resources": {"slot": 1}}, "did you mean 'slots'"),
        ({"resources": {"slots": "all"}}, "slots = 'all' is not"),
        ({"resources": {"slots": 0}}, "slots"),
        ({"resources": {"oracles": 0}}, "oracles"),
        ({"resources": {"attack": {"cpu": 1}}}, "did you mean 'cpus'"),
        ({"resources": {"attack": {"gpus": -1}}}, "gpus = -1.0 must be at least 0"),
        ({"resources": {"attack": {"gpus": "one"}}}, "gpus = 'one' is not"),
        ({"resources": {"attack": {"custom": {"node": "x"}}}}, "custom"),
        ({"explanation": 3}, "explanation"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(changes: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said) as refusal:
        read({**LEAST, **changes})
    if "attacks" not in changes and "defenses" not in changes:
        assert str(refusal.value).startswith("t.toml")


@pytest.mark.parametrize("missing", ["name", "victims", "attacks", "defenses", "budgets"])
def test_what_must_be_there_is_said(missing: str):
    with pytest.raises(BadParameter, match=missing):
        read({key: value for key, value in LEAST.items() if key != missing})


def test_a_syntax_error_has_its_file_and_line(tmp_path: Path):
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\nbudgets = [1,\nseeds = ]\n')
    with pytest.raises(BadParameter, match=r"t\.toml is not valid TOML: .*line 3"):
        read_tournament(path)


def test_a_file_that_is_no_text_or_not_there_is_said(tmp_path: Path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadParameter, match="is not valid TOML"):
        read_tournament(tmp_path / "binary.toml")
    with pytest.raises(UnknownName, match="there is no tournament file"):
        read_tournament(tmp_path / "none.toml")
    with pytest.raises(UnknownName, match="there is no tournament file"):
        read_tournament(tmp_path)


class TestASweep:
    def test_is_once_each_value_that_the_defense_names(self):
        tournament = read({**LEAST, "defenses": ["none", {"name": "mad", "norm": "l2", "sweep": True}]})
        values = [dict(terms.spec.params)["epsilon"] for terms in tournament.defenses[1:]]
        assert values == [0.0, 0.1, 0.2, 0.5, 1.0, 1.5]
        assert all(terms.knowledge.surrogate == "random" for terms in tournament.defenses[1:])

    def test_may_have_values_of_its_own(self):
        tournament = read({**LEAST, "defenses": [{"name": "top-k", "sweep": [2, 4]}]})
        assert [dict(terms.spec.params)["k"] for terms in tournament.defenses] == [2, 4]
        assert read({**LEAST, "defenses": [{"name": "top-k", "sweep": False}]}).defenses[0].spec.params == ()

    @pytest.mark.parametrize(
        ("defense", "said"),
        [
            ({"name": "none", "sweep": True}, "none has no parameter to sweep; leave sweep out"),
            ({"name": "mad", "sweep": 3}, "set sweep to true or to a list of values of epsilon, and leave epsilon out"),
            ({"name": "mad", "sweep": []}, "set sweep to true or to a list"),
            ({"name": "mad", "epsilon": 1.0, "sweep": True}, "and leave epsilon out"),
            ({"name": "top-k", "sweep": ["many"]}, "k = 'many' is not"),
        ],
    )
    def test_that_cannot_be_is_refused(self, defense: dict[str, Any], said: str):
        with pytest.raises(BadParameter, match=said):
            read({**LEAST, "defenses": [defense]})
