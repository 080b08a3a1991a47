"""What a player receives lets it predict nothing of the referee or of the other side."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from arena.contracts import (
    Attack,
    AttackContext,
    BadParameter,
    Defense,
    DefenseContext,
    Oracle,
    QueryBatch,
    Responder,
    Spec,
    State,
)
from arena.defenses.gaussian_noise import GaussianNoise, noisy_logits
from arena.learning.architectures import build
from arena.learning.composition import answered_by
from arena.learning.randomness import derived_seed, generator, keyed_normal
from arena.match.play import play
from arena.match.rows import honest_traffic
from arena.match.secret import PUBLIC, Secret, installation_secret
from arena.match.site import Site
from arena.match.victims import load_victim
from arena.referee.keys import result_key
from arena.registry import build_attack
from tests.players import MATCHUP

SECRET = Secret.stated("nobody knows it")
SEEDS = range(20)  # those that people use
NOISY = replace(MATCHUP, defense=Spec(name="gaussian-noise", version=1), seed=3)


def found_seed(received: int, role: str) -> int:
    """The seed of the match, found by trying small ones against the seed that a player received."""
    return next(seed for seed in SEEDS if derived_seed(seed, role) == received)


@dataclass(frozen=True, kw_only=True)
class ReplaysTheNoise(Attack):
    """Finds the seed of its match from its own generator, and draws the noise of the defense once more."""

    tell: Callable[[Tensor, Tensor, Tensor], None]

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        seed = found_seed(rng.initial_seed(), "attack")
        key = int(torch.randint(2**62, (1,), generator=generator(seed, "defense")).item())
        rows = context.pool[: oracle.remaining]
        self.tell(rows, oracle.query(rows).posteriors, keyed_normal(rows, oracle.task.classes, key=key))
        return build("mlp", oracle.task, rng=rng)


@pytest.mark.parametrize(("secret", "predicted"), [(PUBLIC, True), (SECRET, False)], ids=["public", "secret"])
def test_an_attack_that_finds_the_seed_of_its_match_cannot_replay_the_defenses_noise(
    secret: Secret, predicted: bool, site: Site
):
    told: list[tuple[Tensor, Tensor, Tensor]] = []
    attack = ReplaysTheNoise(tell=lambda *found: told.append(found))
    result = play(NOISY, attack=attack, defense=GaussianNoise(), site=replace(site, secret=secret))
    assert result.verdict.outcome == "completed", result.verdict
    ((rows, released, noise),) = told
    clean = load_victim(NOISY.victim, 0, site)(rows)
    assert torch.allclose(released.double(), noisy_logits(clean, noise, sigma=1.0), atol=1e-5) is predicted


@dataclass(frozen=True, kw_only=True)
class KnowsWhoIsHonest(Defense):
    """Finds the seed of its match from its own generator, and works out the account numbers of honest users."""

    tell: Callable[[int, set[int]], None]

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        answer, seen = answered_by(context.victim), set[int]()
        seed = next((seed for seed in SEEDS if derived_seed(seed, "defense") == rng.initial_seed()), -1)

        def respond(queries: QueryBatch):
            seen.add(queries.account)
            self.tell(seed, seen)
            return answer(queries)

        return respond


@pytest.mark.parametrize(("secret", "predicted"), [(PUBLIC, True), (SECRET, False)], ids=["public", "secret"])
def test_a_defense_cannot_work_out_which_accounts_are_honest(secret: Secret, predicted: bool, site: Site):
    told: list[tuple[int, set[int]]] = []
    matchup = replace(MATCHUP, defense=Spec(name="planted"), seed=4)
    defense = KnowsWhoIsHonest(tell=lambda seed, seen: told.append((seed, seen)))
    play(matchup, attack=build_attack(matchup.attack), defense=defense, site=replace(site, secret=secret))
    seed, seen = told[0]  # of the match; the referee deploys the defense once more for its test rows
    assert (seed == 4) is predicted
    public = honest_traffic(matchup, replace(site, secret=PUBLIC))
    assert set(public.account_numbers) <= seen if predicted else not set(public.account_numbers) & seen


def test_everything_of_referee_and_defense_moves_with_the_secret_and_the_attack_does_not(site: Site):
    attack = build_attack(NOISY.attack)
    one, same, other = (
        play(NOISY, attack=attack, defense=GaussianNoise(), site=replace(site, secret=secret))
        for secret in (SECRET, SECRET, Secret.stated("another"))
    )
    assert one.transcript_digest == same.transcript_digest
    assert one.counts == same.counts
    assert one.transcript_digest != other.transcript_digest
    assert one.counts["floor/fidelity"] != other.counts["floor/fidelity"]


def test_a_results_key_holds_the_digest_of_the_secret(site: Site):
    one, same, other = (
        result_key(MATCHUP, replace(site, secret=secret))
        for secret in (SECRET, Secret.stated("nobody knows it"), Secret.stated("another"))
    )
    assert one == same != other


def test_the_secret_is_never_printed():
    assert "nobody" not in repr(SECRET)
    assert SECRET.value.hex() not in repr(SECRET) + SECRET.digest
    assert SECRET.digest != Secret.stated("another").digest


class TestTheInstallationsSecret:
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "settings" / "secret"
        monkeypatch.setenv("ARENA_SECRET_FILE", str(path))
        return path

    def test_is_made_once_for_its_owner_alone(self, file: Path):
        first = installation_secret()
        assert installation_secret() == first
        assert len(first.value) == 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in file.parent.iterdir()] == ["secret"]

    def test_is_one_even_if_many_ask_for_it_at_once(self, file: Path):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: installation_secret(), range(8)))
        assert len({secret.value for secret in found}) == 1

    def test_another_installation_has_another_one(self, file: Path):
        first = installation_secret()
        file.unlink()
        assert installation_secret() != first

    @pytest.mark.parametrize("text", ["", "abcd", "no hex at all"])
    def test_a_file_that_holds_something_else_is_refused(self, file: Path, text: str):
        file.parent.mkdir()
        file.write_text(text)
        with pytest.raises(BadParameter, match="secret"):
            installation_secret()

    def test_a_folder_that_cannot_be_written_is_said(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("ARENA_SECRET_FILE", "/proc/arena/secret")
        with pytest.raises(BadParameter, match="cannot be used"):
            installation_secret()
