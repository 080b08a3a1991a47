"""A user's mistake is one message on stderr and exit code 2: no traceback, nothing made, nothing started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from arena.runs.folder import alone_in
from tests.cli.arena import Arena, Ended
from tests.forked import forked

TINY = "digits(arch=mlp,steps=100)"
TOURNAMENT = """
name = "t"
victims = [{ name = "digits", arch = "mlp", steps = 100 }]
attacks = [{ name = "knockoff", steps = 20 }]
defenses = ["none"]
budgets = [20]
seeds = 1
recipe = { steps = 20 }
"""


def refused(ended: Ended, *said: str) -> None:
    message = " ".join(ended.err.replace("│", " ").split())
    assert ended.code == 2, ended
    assert ended.out == ""
    assert "Traceback" not in message
    for words in said:
        assert words in message


PLAY = [
    pytest.param({"attack": "knockof"}, "did you mean 'knockoff'?", id="unknown-attack"),
    pytest.param({"attack": "argmax(base=knockof)"}, "did you mean 'knockoff'?", id="unknown-base"),
    pytest.param({"attack": "none"}, "no attack is called 'none'", id="a-defense-as-attack"),
    pytest.param({"attack": "agents/nobody"}, "there is no agents/nobody/agent.toml", id="unknown-folder"),
    pytest.param({"defense": "madd"}, "did you mean 'mad'?", id="unknown-defense"),
    pytest.param({"victim": "digit"}, "did you mean 'digits'?", id="unknown-victim"),
    pytest.param({"victim": "digits(arch=mpl)"}, "no architecture 'mpl'", id="unknown-architecture"),
    pytest.param({"victim": "digits(archh=mlp)"}, "did you mean 'arch'?", id="unknown-key-of-victim"),
    pytest.param({"victim": "digits(steps=many)"}, "steps = 'many' is not", id="victim-value"),
    pytest.param({"victim": "digits(test=5000)"}, "5,000", id="more-rows-than-there-are"),
    pytest.param({"victim": "digits(honest=0)"}, "every split needs at least one row", id="empty-split"),
    pytest.param({"victim": "digits(weights=none.safetensors)"}, "no file of weights", id="no-weights"),
    pytest.param({"victim": "digits(arch=mlp,steps=20,lr=1e38)"}, "training diverged, so set lr", id="diverged-victim"),
    pytest.param({"victim": "digits(mean=[120],std=[60])"}, "levels 0 to 255 by 255", id="mean-of-levels"),
    pytest.param({"victim": "digits(mean=[0,0,0],std=[1,1,1])"}, "have 1 channels", id="mean-of-other-channels"),
    pytest.param({"victim": "image-folder:/no/such/place"}, "is not a folder with a folder of images", id="images"),
    pytest.param({"attack": "knockoff(stepz=3)"}, "did you mean 'steps'?", id="parameter-it-lacks"),
    pytest.param({"attack": "knockoff(steps=many)"}, "steps = 'many' is not", id="value-it-cannot-have"),
    pytest.param({"attack": "argmax"}, "argmax needs base: write argmax(base=knockoff)", id="wrapper-without-base"),
    pytest.param({"defense": "mad(epsilon=-1)"}, "must lie in [0, 2]", id="value-out-of-range"),
    pytest.param({"defense": "modelguard-w(epsilon=2.5)"}, "must lie in [0, 2]", id="beyond-the-simplex"),
    pytest.param({"defense": "top-k(k=11)"}, "k must be 1 to 10", id="more-classes-than-there-are"),
    pytest.param({"defense": "rounding(base=top-k(k=11))"}, "k must be 1 to 10", id="a-base-that-does-not-fit"),
    pytest.param(
        {"defense": "isolation-induction", "outliers": "none"},
        "isolation-induction needs outliers",
        id="needs-outliers",
    ),
    pytest.param({"defense": "mad-argmax(argmax=false)"}, "stands for argmax = True", id="preset-field"),
    pytest.param({"attack": "knockoff(steps=3"}, "expected at", id="bracket-left-open"),
    pytest.param({"attack": "knockoff)"}, "cannot read ')'", id="bracket-too-many"),
    pytest.param({"attack": "knockoff(3)"}, "key=value is expected", id="no-key"),
    pytest.param({"attack": ""}, "a player is expected", id="no-player"),
    pytest.param({"budget": 0}, "budgets must be whole numbers of at least 1", id="budget-zero"),
    pytest.param({"budget": -5}, "budgets must be whole numbers of at least 1", id="budget-negative"),
    pytest.param({"accounts": 0}, "accounts must be whole numbers of at least 1", id="accounts"),
    pytest.param({"decimals": -1}, "decimals must be whole numbers of at least 0", id="decimals"),
    pytest.param({"seed": -1}, "seeds must be whole numbers of at least 0", id="seed"),
    pytest.param({"pool": "sam"}, "is not one of 'same', 'near'", id="unknown-pool"),
    pytest.param({"pool": "none"}, "attack knockoff needs a pool", id="needs-a-pool"),
    pytest.param({"pool": "near", "source": "glyfs"}, "glyfs", id="unknown-source"),
    pytest.param({"pool": "same", "source": "glyphs"}, "has no source to choose", id="source-without-choice"),
    pytest.param({"defense": "mad", "surrogate": "none"}, "defense mad needs surrogate", id="needs-a-surrogate"),
    pytest.param(
        {"defense": "mad", "surrogate": "psychic"}, "'psychic' must be one of none, random", id="unknown-surrogate"
    ),
    pytest.param({"victim": "mnist"}, "mnist is not in", id="missing-data-set"),
    pytest.param({"victim": "mnist"}, "download=True", id="missing-data-set-says-how"),
    pytest.param({"data": "no-such-folder"}, "there is no data folder no-such-folder", id="missing-data-folder"),
    pytest.param({"budget": "many"}, "'--budget'", id="option-of-another-type"),
]


@pytest.mark.parametrize(("options", "said"), PLAY)
def test_a_match_that_cannot_be_is_refused(options: dict[str, object], said: str, arena: Arena):
    asked = {"victim": TINY, "attack": "knockoff(steps=20)", "steps": 20, **options}
    refused(arena("play", *(f"--{name}={value}" for name, value in asked.items())), said)
    assert list(Path().iterdir()) == []


def test_a_file_of_weights_that_cannot_be_used_is_refused(arena: Arena):
    Path("garbage.safetensors").write_bytes(b"no weights")
    torch.save({"1.bias": torch.zeros(10)}, "mine.pth")
    for name, said in {
        "garbage.safetensors": "is not a safetensors file",
        "mine.pth": "import torch, safetensors",
    }.items():
        refused(arena("play", "--victim", f"digits(arch=linear,weights={name})", "--budget", 20), said)


def test_an_attack_below_its_minimum_is_refused(arena: Arena):
    folder = Path("greedy")
    assert arena("new", "attack", "greedy", "--to", ".").code == 0
    code = (folder / "agent.py").read_text()
    (folder / "agent.py").write_text(code + "\n    def min_budget(self, task):\n        return 50\n")
    ended = arena("play", "--victim", TINY, "--attack", "./greedy", "--budget", 20)
    refused(ended, "needs a query budget of 50 rows or more for this victim, not 20")


RUN = [
    pytest.param(
        TOURNAMENT.replace("seeds = 1", "seeds = "), "t.toml is not valid TOML: Invalid value (at line 7", id="syntax"
    ),
    pytest.param(TOURNAMENT.replace("budgets", "budgetz"), "did you mean 'budgets'", id="unknown-key"),
    pytest.param(TOURNAMENT.replace("[20]", "[0]"), "t.toml: budgets must be", id="budget-zero"),
    pytest.param(TOURNAMENT.replace('"knockoff", steps', '"knockoff", stepz'), "did you mean 'steps'", id="parameter"),
    pytest.param(TOURNAMENT.replace('"knockoff"', '"knockof"'), "did you mean 'knockoff'", id="unknown-attack"),
    pytest.param(TOURNAMENT.replace('"digits"', '"digit"'), "did you mean 'digits'", id="unknown-victim"),
    pytest.param(TOURNAMENT.replace("steps = 100", "test = 5000"), "5,000", id="too-many-rows"),
    pytest.param(TOURNAMENT + 'pools = ["none"]', "needs a pool", id="needs-unmet"),
    pytest.param(TOURNAMENT + 'pools = [{ kind = "near", source = "glyfs" }]', "glyfs", id="unknown-source"),
    pytest.param(TOURNAMENT.replace("recipe = { ", 'recipe = { arch = "mpl", '), "no architecture 'mpl'", id="recipe"),
    pytest.param(TOURNAMENT + 'explanation = "grad-kam"', "did you mean 'grad-cam'", id="unknown-explanation"),
    pytest.param(TOURNAMENT + 'explanation = "grad-cam"', "mlp has 0 convolutional activations", id="explanation"),
    pytest.param(TOURNAMENT + 'threats = ["evation"]', "did you mean 'evasion'", id="unknown-threat"),
    pytest.param(TOURNAMENT + 'threats = ["evasion"]\nthreat_budget = 1', "needs threat_budget", id="threat-budget"),
    pytest.param(
        TOURNAMENT.replace('["none"]', '[{ name = "mad", surrogate = "none" }]'), "needs surrogate", id="surrogate"
    ),
]


@pytest.mark.parametrize(("text", "said"), RUN)
@pytest.mark.parametrize("runner", ["local", "ray"])
def test_a_tournament_that_cannot_be_is_refused_before_a_folder_is_made(
    text: str, said: str, runner: str, arena: Arena
):
    Path("t.toml").write_text(text)
    refused(arena("run", "t.toml", "--runner", runner, "--out", "out"), said)
    assert [path.name for path in Path().iterdir()] == ["t.toml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "no-such-preset"), "there is no tournament file or preset 'no-such-preset'; the presets are demo"),
        (("run", "none.toml"), "there is no tournament file none.toml"),
        (("run", "."), "there is no tournament file"),
        (("run", "demo", "--data", "nowhere"), "there is no data folder nowhere"),
        (("run", "demo", "--runner", "slurm"), "'slurm' is not one of"),
        (("run", "demo", "--only", "knockoff"), "write KIND=VALUE, as in attack=knockoff; KIND is one of attack"),
        (("run", "demo", "--only", "attack=knockof"), "no attack of this tournament is 'knockof' (did you mean 'knock"),
        (("run", "demo", "--only", "seed=9"), "no seed of this tournament is '9'; it has 0, 1, 2, 3, 4"),
        (("run", "demo", "--add-seeds", "0"), "--add-seeds is 0; it must be 1 or more"),
        (("resume", "nowhere"), "nowhere is not a run folder"),
        (("resume", "."), "is not a run folder"),
        (("report", "nowhere"), "nowhere is not a run folder"),
        (("show", "nowhere", "3f"), "nowhere is not a run folder"),
        (("list", "knockof"), "did you mean 'knockoff'"),
        (("check", "knockof"), "did you mean 'knockoff'"),
        (("check", "."), "without an agent.toml"),
        (("new", "judge", "mine"), "'judge' is not one of"),
        (("serve", "--budget", "0"), "budgets must be whole numbers"),
        (("serve", "--host", "0.0.0.0", "--victim", TINY), "other machines can reach 0.0.0.0"),
        (("plai",), "No such command 'plai'"),
        (("play", "--budgett", "3"), "No such option"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_other_command_refuses_alike(arguments: tuple[str, ...], said: str, arena: Arena):
    refused(arena(*arguments), said)
    assert list(Path().iterdir()) == []


@pytest.fixture
def run_folder(arena: Arena) -> Path:
    """A finished run of one match."""
    Path("t.toml").write_text(TOURNAMENT)
    ended = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out", "--no-reuse")
    assert ended.code == 0, ended.err
    return Path("out")


def test_a_run_is_not_overwritten_and_its_matches_are_named(run_folder: Path, arena: Arena):
    Path("other.toml").write_text(TOURNAMENT.replace("[20]", "[30]"))
    refused(
        arena("run", "other.toml", "--runner", "local", "--out", run_folder),
        "out holds another tournament (budgets: only in the folder: [20], only asked for: [30])",
        "`arena resume out`, or choose another folder with --out",
    )
    other = Path("other")
    other.mkdir()
    (other / "mine").write_text("precious")
    refused(arena("run", "t.toml", "--runner", "local", "--out", other), "exists and is not empty")
    assert (other / "mine").read_text() == "precious"
    refused(arena("show", run_folder, "zzzz"), "out has no match 'zzzz'; give one of ")
    shown = arena("show", run_folder, "")
    assert shown.code == 0
    assert "as recorded" in shown.out
    assert arena("report", run_folder, "--csv").out.count("\n") == 2
    assert arena("resume", run_folder).code == 0


def hold(run_folder: Path) -> None:
    """Keep a run folder for oneself until one is killed."""
    with alone_in(run_folder):
        print("held", flush=True)
        signal.pause()


def test_a_run_folder_that_another_process_plays_is_left_alone(arena: Arena, run_folder: Path):
    journal = run_folder / "journal.jsonl"
    with forked(hold, run_folder.resolve()) as other:
        assert other.out.readline() == "held\n"
        journal.write_bytes(journal.read_bytes() + b"half a li")  # what the other one is writing
        refused(arena("resume", run_folder), "another process is playing in")
        assert journal.read_bytes().endswith(b"half a li")
    assert arena("resume", run_folder).code == 0
