"""What the recovery attacks share: recognising the defense, and what they do where there is nothing to undo."""

from dataclasses import dataclass, replace

import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.parts.recovery import RecoveryAttack, fingerprint, fingerprint_distance, recognised
from arena.contracts import BadParameter
from arena.defenses.none import NoDefense
from arena.defenses.prada import Prada
from arena.defenses.prediction_poisoning import PredictionPoisoning
from arena.defenses.reverse_sigmoid import ReverseSigmoid, perturbed
from arena.defenses.rounding import Rounding
from tests.attacks.toy import ToyOracle, context, digest
from tests.defenses.toy import LinearVictim, deployed, inputs

VICTIM = LinearVictim(scale=8.0)
GUESSES = (
    Rounding(decimals=1),
    ReverseSigmoid(beta=1.0, gamma=0.1),
    PredictionPoisoning(epsilon=0.5, argmax=True),
)
QUICK = {"base": KnockoffNets(steps=5), "steps": 5, "steps_inner": 400, "shadow_rows": 300}


@dataclass(frozen=True, kw_only=True)
class Told(RecoveryAttack):
    """Undoes nothing and remembers which pairs it was asked to undo."""

    def undoing(self, defended, clean, context, *, rng):
        seen.append((defended, clean))
        return self.restored

    @staticmethod
    def restored(rows):
        return rows


seen = []


@pytest.fixture(autouse=True)
def nothing_seen():
    seen.clear()


def steal(attack, defense, *, budget=300, simulated=None, seed=0):
    oracle = ToyOracle(deployed(defense, victim=VICTIM), budget, VICTIM.task)
    terms = replace(context(VICTIM.task), simulated=simulated)
    return attack.extract(oracle, terms, rng=torch.Generator().manual_seed(seed)), oracle


def test_fingerprint_by_hand():
    rows = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    tenths = [0.5, *[0.0] * 8, 0.5]  # of entropies 0 and ln 2
    assert fingerprint(rows).tolist() == pytest.approx([0.75, 0.25, *tenths, 0.5])
    assert fingerprint_distance(rows, rows) == 0
    assert fingerprint_distance(rows, rows[:1]) == pytest.approx(0.25 + 0.25 + 1.0 + 0.5)


@pytest.mark.parametrize("number", range(len(GUESSES)), ids=["rounding", "reverse-sigmoid", "mad-argmax"])
def test_the_defense_is_recognised_by_what_its_answers_look_like(number):
    clean, others = (VICTIM(inputs(300, seed=seed)) for seed in (0, 1))
    guesses = [deployed(one, victim=LinearVictim(scale=7.0))(inputs(300, seed=2)) for one in GUESSES]
    released = deployed(GUESSES[number], victim=VICTIM)(inputs(300, seed=3))
    assert recognised(guesses, clean, released, closer=0.8) == number
    assert recognised(guesses, clean, others, closer=0.8) is None


def test_the_guess_is_undone_by_its_pairs():
    steal(Told(guesses=GUESSES, **QUICK), GUESSES[1])
    ((defended, clean),) = seen
    assert defended.shape == clean.shape == (600, 6)
    assert torch.allclose(defended.double(), perturbed(clean, beta=1.0, gamma=0.1), atol=1e-6)


def test_where_nothing_is_defended_nothing_is_undone():
    steal(Told(guesses=GUESSES, **QUICK), NoDefense())
    assert not seen


def test_an_informed_attack_undoes_what_it_was_told_of():
    steal(Told(guesses=GUESSES[:1], **QUICK), GUESSES[1], simulated=GUESSES[1])
    ((defended, clean),) = seen
    assert torch.allclose(defended.double(), perturbed(clean, beta=1.0, gamma=0.1), atol=1e-6)


@pytest.mark.parametrize("defense", [NoDefense(), Prada()])
def test_an_informed_attack_leaves_rows_alone_where_there_is_no_map_to_undo(defense):
    steal(Told(guesses=GUESSES, **QUICK), defense, simulated=defense)
    assert not seen


def test_the_first_rows_show_the_defense_and_the_base_has_the_rest():
    _, oracle = steal(Told(guesses=GUESSES, **QUICK), GUESSES[0], budget=101)
    assert [len(call) for call in oracle.calls] == [20, 81]
    assert oracle.remaining == 0
    assert len(set(oracle.digests)) == 101


def test_a_budget_too_small_to_look_is_left_to_the_base():
    attack = Told(guesses=GUESSES, **QUICK)
    clones = [steal(one, GUESSES[0], budget=4)[0] for one in (attack, attack.base)]
    assert digest(clones[0]) == digest(clones[1])


class Sharper(Told):
    """Undoes a flattening defense, but for every tenth row."""

    @staticmethod
    def restored(rows):
        sharp = rows.square() / rows.square().sum(dim=1, keepdim=True)
        sharp[::10] = sharp[::10].roll(1, dims=1)
        return sharp


class Duller(Told):
    @staticmethod
    def restored(rows):
        return torch.full_like(rows, 1 / rows.shape[1])


class Listening(KnockoffNets):
    def extract(self, oracle, context, *, rng):
        asked = context.pool[:50]
        heard.append((asked, oracle.query(asked).posteriors))
        return super().extract(oracle, context, rng=rng)


heard = []


@pytest.mark.parametrize("kind", [Sharper, Duller])
def test_what_helps_is_undone_but_not_across_an_argmax_that_is_kept(kind):
    heard.clear()
    steal(kind(**{**QUICK, "base": Listening(steps=5)}, guesses=GUESSES), GUESSES[1])
    ((asked, restored),) = heard
    released = deployed(GUESSES[1], victim=VICTIM)(asked)
    assert torch.equal(restored.argmax(dim=1), released.argmax(dim=1))
    assert torch.equal(restored, released) == (kind is Duller)


@pytest.mark.parametrize(
    ("reproduced", "informed", "undone"), [(0.4, False, True), (0.0, False, False), (0.0, True, True)]
)
def test_a_guess_must_return_the_released_rows_and_what_is_known_need_not(reproduced, informed, undone):
    """`Sharper` undoes the defense only roughly."""
    heard.clear()
    attack = Sharper(**{**QUICK, "base": Listening(steps=5)}, guesses=GUESSES, reproduced=reproduced)
    steal(attack, GUESSES[1], simulated=GUESSES[1] if informed else None)
    ((asked, restored),) = heard
    assert torch.equal(restored, deployed(GUESSES[1], victim=VICTIM)(asked)) is not undone


def test_all_of_the_budget_to_look_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="share"):
        Told(share=1.0, **QUICK)
