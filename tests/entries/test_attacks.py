from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import BadParameter, MatchResult, SandboxUnavailable, Spec
from arena.contracts.flags import UNSAFE
from arena.contracts.scores import CONTROL, clone_count
from arena.entries.loading import SandboxedEntries
from arena.match.admission import admit
from arena.match.site import Limits, Site
from arena.referee.keys import result_key
from arena.registry import build_attack, build_defense, code_digest, complete, loader_in_use, resolved
from arena.sandbox import bubblewrap
from tests.entries.entries import HONEST, attack
from tests.players import MATCHUP, played
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = needs_bubblewrap


def play(spec: Spec, site: Site) -> MatchResult:
    return played(replace(MATCHUP, attack=complete("attack", spec)), site)


def test_an_attack_plays_inside_as_it_does_outside(tmp_path: Path, site: Site, cache: Path):
    spec = attack(tmp_path / "mine")
    outside = play(spec, site)
    with loader_in_use(SandboxedEntries(cache=cache)):
        inside = play(spec, site)
    assert inside.verdict == outside.verdict
    assert (inside.isolation, outside.isolation) == ("sandbox", "in-process")
    assert (inside.transcript_digest, inside.clone_digest) == (outside.transcript_digest, outside.clone_digest)
    control = inside.counts[CONTROL]
    assert inside.counts == {**outside.counts, CONTROL: control}
    assert (inside.spent, inside.clone_digest != "") == (5, True)


def test_an_entry_is_described_inside_as_it_is_outside(tmp_path: Path, cache: Path):
    mine = attack(tmp_path / "mine")
    wrapped = Spec(name="argmax", params=(("base", replace(mine, params=(("rows", 3),))),))
    for spec in (mine, wrapped):
        completed, text = complete("attack", spec), resolved("attack", spec)
        with loader_in_use(SandboxedEntries(cache=cache)):
            assert complete("attack", spec) == completed
            assert resolved("attack", completed) == text
            assert build_attack(completed).needs == {"pool"}


@pytest.mark.usefixtures("sandboxed")
def test_no_process_outside_imports_an_entry(tmp_path: Path, site: Site):
    """Its code writes a file when it is imported, to every place that it can think of."""
    name = f"imported-{secrets.token_hex(8)}"
    places = [tmp_path / name, tmp_path / "mine" / name, Path("/tmp", name), Path.home() / name]
    wrote = f"""
for place in {list(map(str, places))}:
    try:
        open(place, "w").write("I was here")
    except OSError:
        pass
"""
    spec = complete("attack", attack(tmp_path / "mine", imports=wrote))
    matchup = replace(MATCHUP, attack=spec)
    admit(matchup, build_attack(spec), build_defense(matchup.defense), site)
    code_digest("attack", spec)
    result_key(matchup, site)
    assert played(matchup, site).verdict.outcome == "completed"
    assert not any(place.exists() for place in places)


@pytest.mark.usefixtures("sandboxed")
def test_what_code_raises_on_import_goes_back_to_its_author(tmp_path: Path):
    with pytest.raises(BadParameter, match=r"agent.py cannot be imported: ZeroDivisionError") as refusal:
        complete("attack", attack(tmp_path / "mine", imports="WRONG = 1 / 0"))
    assert "WRONG = 1 / 0" in str(refusal.value)
    assert str(tmp_path / "mine") in str(refusal.value)


@pytest.mark.usefixtures("sandboxed")
def test_a_package_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path):
    with pytest.raises(BadParameter, match=r"No module named 'transformers'") as refusal:
        complete("attack", attack(tmp_path / "mine", imports="import transformers"))
    assert "may import the standard library and: " in str(refusal.value)
    assert "torch 2" in str(refusal.value)


@pytest.mark.usefixtures("sandboxed")
def test_an_entry_that_cannot_be_what_it_says_is_refused(tmp_path: Path):
    folder = tmp_path / "mine"
    spec = attack(folder)
    code = (folder / "agent.py").read_text()
    (folder / "agent.py").write_text(code.replace('frozenset({"pool"})', 'frozenset({"the labels"})'))
    with pytest.raises(BadParameter, match="describes itself as no player can: needs = "):
        complete("attack", spec)


@pytest.mark.usefixtures("sandboxed")
def test_its_role_is_known_without_its_code(tmp_path: Path):
    with pytest.raises(BadParameter, match="an entry for the role 'attack'; a defense is needed"):
        complete("defense", attack(tmp_path / "mine", imports="raise SystemExit"))


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize(
    ("body", "outcome", "reason", "spent"),
    [
        (f'{HONEST.replace("return", "done =")}; raise ValueError("no idea")', "crashed", "ValueError: no idea", 5),
        ("import os; os._exit(3)", "crashed", "ended without a clone: it ended with exit code 3", 0),
        ("return None", "crashed", "extract must return a torch module", 0),
        ('x = [b"x" * 2**24 for _ in range(200)]', "crashed", "it used more memory than its limit", 0),
    ],
)
def test_what_goes_wrong_inside_is_the_attacks_fault(
    tmp_path: Path, site: Site, body: str, outcome: str, reason: str, spent: int
):
    result = play(attack(tmp_path / "mine", body=body), site)
    assert (result.verdict.outcome, result.verdict.fault, result.spent) == (outcome, "attack", spent)
    assert reason in result.verdict.reason
    assert result.isolation == "sandbox"


@pytest.mark.usefixtures("sandboxed")
def test_an_attack_that_never_ends_is_timed_out(tmp_path: Path, site: Site):
    body = f'{HONEST.replace("return", "done =")}\n        exec("while True: pass")'
    result = play(attack(tmp_path / "mine", body=body), replace(site, limits=Limits(play=1.0)))
    assert (result.verdict.outcome, result.verdict.fault) == ("timed out", "attack"), result.verdict


def test_where_no_sandbox_works_an_entry_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bubblewrap, "PROGRAM", "no-such-program")
    with (
        loader_in_use(SandboxedEntries(cache=cache)),
        pytest.raises(SandboxUnavailable, match=r"runs only in a sandbox, and no-such-program is not .* --unsafe"),
    ):
        complete("attack", attack(tmp_path / "mine"))


def test_without_a_sandbox_the_result_is_flagged(tmp_path: Path, site: Site):
    assert UNSAFE in play(attack(tmp_path / "mine"), site).flags
    assert UNSAFE not in played(MATCHUP, site).flags


OWN = """
class Own(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.inner = nn.Linear(task.shape[-1] * task.shape[-2], task.classes)

    def forward(self, inputs):
        {forward}
        return self.inner(inputs.flatten(1))
"""


def own_clone(folder: Path, *, forward: str = "pass") -> Spec:
    """An attack that returns a network of a class of its own."""
    body = HONEST.replace('build("mlp", oracle.task, rng=rng).eval()', "Own(oracle.task)")
    body = body.replace("oracle.query", "torch.manual_seed(0); oracle.query")
    return attack(folder, body=body, imports=OWN.format(forward=forward))


def test_a_clone_of_an_own_class_stays_inside_and_gets_the_same_scores(tmp_path: Path, site: Site, cache: Path):
    spec = own_clone(tmp_path / "mine")
    outside = play(spec, site)
    with loader_in_use(SandboxedEntries(cache=cache)):
        inside = play(spec, site)
    assert inside.verdict == outside.verdict
    for what in ("accuracy", "fidelity"):
        name = clone_count("b", what)
        assert inside.counts[name] == outside.counts[name]


@pytest.mark.usefixtures("sandboxed")
def test_a_clone_reaches_no_oracle_while_it_is_scored(tmp_path: Path, site: Site):
    """It answers only where an oracle is, which is true when it is handed back and not when it is scored."""
    forward = 'import os; seen = sorted(os.listdir("/run/arena")); assert "oracle" in seen, f"there is only {seen}"'
    result = play(own_clone(tmp_path / "mine", forward=forward), site)
    assert result.verdict.fault == "attack"
    assert "AssertionError: there is only ['clone']" in result.verdict.reason
    assert result.spent == 5
