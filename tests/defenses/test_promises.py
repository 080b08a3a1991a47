"""What every defense of this folder must do, whichever it is."""

import pytest
import torch

from arena.defenses.adaptive_misinformation import AdaptiveMisinformation
from arena.defenses.cmim import Cmim
from arena.defenses.dawn import Dawn
from arena.defenses.diverse_ensemble import DiverseEnsemble
from arena.defenses.gaussian_noise import GaussianNoise
from arena.defenses.gradient_redirection import GradientRedirection
from arena.defenses.hoda import Hoda
from arena.defenses.isolation_induction import IsolationInduction
from arena.defenses.label_only import LabelOnly
from arena.defenses.misleader import Misleader
from arena.defenses.modelguard import ModelGuardS, ModelGuardW
from arena.defenses.nasty_teacher import NastyTeacher
from arena.defenses.noise_matrix import NoiseMatrix
from arena.defenses.none import NoDefense
from arena.defenses.parts.detection import DetectingDefense
from arena.defenses.prada import Prada
from arena.defenses.prediction_poisoning import PredictionPoisoning
from arena.defenses.reverse_sigmoid import ReverseSigmoid
from arena.defenses.rounding import Rounding
from arena.defenses.top_k import TopK
from tests.defenses.toy import LinearVictim, deployed, inputs

DEFENSES = [
    NoDefense(),
    *(Rounding(decimals=decimals) for decimals in (0, 1, 3)),
    *(TopK(k=k, rest=rest) for k in (1, 2) for rest in ("zero", "spread")),
    LabelOnly(),
    *(
        GaussianNoise(kind=kind, fresh=fresh, preserve_argmax=kept, sigma=3.0, epsilon=1.2)
        for kind in ("logit", "vertex")
        for fresh in (True, False)
        for kept in (True, False)
    ),
    ReverseSigmoid(),
    ReverseSigmoid(beta=3.0, gamma=1.0),
    *(
        PredictionPoisoning(epsilon=epsilon, norm=norm, argmax=argmax, search=search)
        for epsilon in (0.0, 0.3, 1.5)
        for norm in ("l1", "l2")
        for argmax in (True, False)
        for search in ("paper", "scaled")
    ),
    *(guard(epsilon=epsilon) for guard in (ModelGuardW, ModelGuardS) for epsilon in (0.0, 0.3, 1.5)),
    *(
        GradientRedirection(epsilon=epsilon, target=target, layers=layers, preserve_argmax=kept)
        for epsilon in (0.3, 1.5)
        for target, layers in (("all-ones", "all"), ("away", "all"), ("away", "last"))
        for kept in (True, False)
    ),
    *(AdaptiveMisinformation(expose=exposed, cost=0.3, steps=3) for exposed in (True, False)),
    *(
        DiverseEnsemble(members=members, selection=selection, steps=3)
        for members, selection in ((1, "coarse"), (3, "bytes"))
    ),
    IsolationInduction(steps=3),
    Cmim(steps=3),
    Dawn(rate=0.5),
    Misleader(architectures=("mlp-8", "mlp-16"), steps=3),
    NastyTeacher(steps=3),
    *(NoiseMatrix(kind=kind, keep=kept, steps=3) for kind in ("pair", "learned") for kept in (True, False)),
    NoiseMatrix(kind="symmetric"),
    *(Prada(action=action, delta=1.0, least=20) for action in ("block", "throttle", "poison", "log")),
    *(Hoda(action=action, window=5, snapshots=3, sequences=10, steps=6) for action in ("block", "poison")),
    ModelGuardW(margin=0.0, epsilon=2.0),
]
VICTIMS = [
    LinearVictim(),
    LinearVictim(scale=0.0),  # every class alike: ties everywhere
    LinearVictim(scale=400.0),  # exactly one-hot rows
    LinearVictim(classes=2),
    LinearVictim(classes=14),
]


@pytest.mark.parametrize("victim", VICTIMS, ids=["plain", "flat", "saturated", "binary", "fourteen"])
@pytest.mark.parametrize("defense", DEFENSES, ids=repr)
class TestEveryDefense:
    def test_releases_rows_on_the_simplex_and_keeps_its_promise(self, defense, victim):
        asked = inputs()
        clean, rows = victim(asked), deployed(defense, victim=victim)(asked)
        assert rows.dtype == torch.float32
        assert rows.shape == clean.shape
        answered = rows.sum(dim=1) > 0
        assert bool(answered.all()) or isinstance(defense, DetectingDefense)
        clean, rows = clean[answered], rows[answered]
        assert float(rows.min()) >= 0
        assert torch.allclose(rows.double().sum(dim=1), torch.ones(len(rows)).double(), atol=1e-5)
        if defense.promise.argmax:
            assert torch.equal(rows.argmax(dim=1), clean.argmax(dim=1))
        if defense.promise.l1 is not None:
            distance = (rows.double() - clean.double()).abs().sum(dim=1).max()
            assert float(distance) <= defense.promise.l1 + 1e-5

    def test_a_row_gets_the_same_answer_beside_any_other(self, defense, victim):
        if defense.promise.noise == "fresh":
            pytest.skip("fresh noise is not a function of the row")
        if defense.promise.stateful:
            pytest.skip("what was asked before matters")
        asked = inputs()
        respond = deployed(defense, victim=victim)
        together = respond(asked)
        order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(1))
        assert torch.allclose(respond(asked[order]), together[order], atol=1e-6)
        assert torch.allclose(torch.cat([respond(part) for part in asked.split(7)]), together, atol=1e-6)
        assert torch.allclose(respond(asked[:1].expand(9, -1)), together[:1].expand(9, -1), atol=1e-6)


@pytest.mark.parametrize("defense", DEFENSES, ids=repr)
def test_a_second_match_with_the_same_seed_is_answered_alike(defense):
    assert torch.equal(deployed(defense)(inputs()), deployed(defense)(inputs()))
