"""Every wrapper over every query strategy, and over every other wrapper."""

import pytest
import torch

from arena.attacks.activethief import ActiveThief
from arena.attacks.argmax import Argmax
from arena.attacks.averaging import Averaging
from arena.attacks.benign_mix import BenignMix
from arena.attacks.cam_matching import CamMatching
from arena.attacks.collage import Collage
from arena.attacks.confidence_filter import ConfidenceFilter
from arena.attacks.data_free import DataFreeExtraction
from arena.attacks.disguide import DisGuide
from arena.attacks.equation_solving import EquationSolving
from arena.attacks.es_attack import EsAttack
from arena.attacks.half_argmax import HalfArgmax
from arena.attacks.jacobian import JacobianAugmentation
from arena.attacks.knockoff import KnockoffNets
from arena.attacks.knockoff_adaptive import KnockoffAdaptive
from arena.attacks.logit_subspace import LogitSubspace
from arena.attacks.marich import Marich
from arena.attacks.noise_inversion import NoiseInversion
from arena.attacks.recovery_network import RecoveryNetwork
from arena.attacks.recovery_table import RecoveryTable
from arena.attacks.retraining import Retraining
from arena.attacks.self_training import SelfTraining
from arena.attacks.sharpening import Sharpening
from arena.attacks.swiftthief import SwiftThief
from arena.attacks.sybil import Sybil
from arena.attacks.uniform_noise import UniformNoise
from arena.defenses.rounding import Rounding
from tests.attacks.toy import IMAGES, VICTIMS, ToyOracle, play

FEW = {"steps": 2}
ROUNDS = {"steps": 2, "steps_inner": 2}
RECOVERY = {"guesses": (Rounding(),), "shadow_rows": 20, **ROUNDS}
WRAPPERS = {
    "argmax": lambda base: Argmax(base=base),
    "averaging": lambda base: Averaging(base=base),
    "benign-mix": lambda base: BenignMix(base=base, **FEW),
    "confidence-filter": lambda base: ConfidenceFilter(base=base, **FEW),
    "half-argmax": lambda base: HalfArgmax(base=base),
    "logit-subspace": lambda base: LogitSubspace(base=base),
    "noise-inversion": lambda base: NoiseInversion(base=base),
    "recovery-network": lambda base: RecoveryNetwork(base=base, iterations=2, **RECOVERY),
    "recovery-table": lambda base: RecoveryTable(base=base, **RECOVERY),
    "self-training": lambda base: SelfTraining(base=base, **FEW),
    "sharpening": lambda base: Sharpening(base=base),
    "sybil": lambda base: Sybil(base=base),
}
STRATEGIES = {
    "activethief": ActiveThief(rounds=3, **ROUNDS),
    "cam-matching": CamMatching(**FEW),
    "collage": Collage(candidates=40, **ROUNDS),
    "data-free": DataFreeExtraction(batch=4, replays=1, steps=5),
    "disguide": DisGuide(batch=4, replays=1, replayed=4, steps=5),
    "equation-solving": EquationSolving(iterations=2),
    "es-attack": EsAttack(rounds=3, iterations=2, **ROUNDS),
    "marich": Marich(rounds=3, **ROUNDS),
    "jbda": JacobianAugmentation(seeds=20, **ROUNDS),
    "knockoff": KnockoffNets(**FEW),
    "knockoff-adaptive": KnockoffAdaptive(**ROUNDS),
    "retraining": Retraining(hidden=2, restarts=1, iterations=2),
    "swiftthief": SwiftThief(epochs=1, last_epochs=1, unlabelled=30, more_unlabelled=0, **ROUNDS),
    "uniform-noise": UniformNoise(**FEW),
}


def spends(attack):
    random = torch.Generator().manual_seed(0)

    def noisy(inputs):
        rows = VICTIMS["softmax_victim"](inputs)
        return (rows.log() + torch.randn(rows.shape, generator=random)).softmax(dim=1)

    oracle = ToyOracle(noisy, 250, IMAGES, accounts=3)
    play(attack, oracle)
    assert oracle.remaining == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_over_any_strategy_spends_the_budget(wrapper, strategy):
    spends(WRAPPERS[wrapper](STRATEGIES[strategy]))


@pytest.mark.parametrize("inner", WRAPPERS)
@pytest.mark.parametrize("outer", WRAPPERS)
def test_a_wrapper_over_any_wrapper_spends_the_budget(outer, inner):
    spends(WRAPPERS[outer](WRAPPERS[inner](STRATEGIES["knockoff"])))
