"""What every attack of this folder must do, whichever it is."""

import typing

import pytest
import torch

from arena.attacks.activethief import ActiveThief, Strategy
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
from arena.defenses.reverse_sigmoid import ReverseSigmoid
from arena.defenses.rounding import Rounding
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, context, digest, play

STEPS = 5
STRATEGIES = typing.get_args(Strategy)
RECOVERY = {
    "base": KnockoffNets(steps=STEPS),
    "guesses": (Rounding(), ReverseSigmoid()),
    "steps": STEPS,
    "steps_inner": STEPS,
    "shadow_rows": 100,
}
ATTACKS = [
    KnockoffNets(steps=STEPS),
    KnockoffAdaptive(steps=STEPS, steps_inner=STEPS),
    *(
        ActiveThief(strategy=strategy, steps=STEPS, steps_inner=STEPS, rounds=3, fooled=50, iterations=3)
        for strategy in STRATEGIES
    ),
    SwiftThief(steps=STEPS, steps_inner=STEPS, epochs=1, last_epochs=1, unlabelled=100, more_unlabelled=0),
    UniformNoise(steps=STEPS),
    JacobianAugmentation(steps=STEPS, steps_inner=STEPS, seeds=20),
    JacobianAugmentation(steps=STEPS, steps_inner=STEPS, seeds=20, mode="targeted-random"),
    JacobianAugmentation(steps=STEPS, steps_inner=STEPS, seeds=20, doubling_rounds=2, reservoir=30, flip_every=1),
    CamMatching(steps=STEPS),
    Collage(steps=STEPS, steps_inner=STEPS, candidates=200),
    EquationSolving(spend_all=True, iterations=STEPS),
    *(
        Retraining(policy=policy, hidden=3, restarts=1, iterations=STEPS)
        for policy in ("uniform", "line-search", "adaptive")
    ),
    *(DataFreeExtraction(variant=variant, batch=8, steps=STEPS) for variant in ("dfme", "maze")),
    DisGuide(batch=8, replays=1, replayed=8, steps=STEPS),
    EsAttack(rounds=3, iterations=3, steps_inner=STEPS, steps=STEPS),
    Marich(rounds=3, steps_inner=STEPS, steps=STEPS),
    Argmax(base=KnockoffNets(steps=STEPS)),
    Argmax(base=EquationSolving(iterations=STEPS)),
    Averaging(base=KnockoffNets(steps=STEPS)),
    BenignMix(base=KnockoffNets(steps=STEPS), steps=STEPS),
    ConfidenceFilter(base=KnockoffNets(steps=STEPS), steps=STEPS),
    HalfArgmax(base=KnockoffNets(steps=STEPS)),
    LogitSubspace(base=KnockoffNets(steps=STEPS)),
    NoiseInversion(base=KnockoffNets(steps=STEPS)),
    RecoveryNetwork(**RECOVERY, iterations=STEPS),
    RecoveryTable(**RECOVERY),
    SelfTraining(base=KnockoffNets(steps=STEPS), steps=STEPS),
    Sharpening(base=KnockoffNets(steps=STEPS)),
    Sharpening(base=KnockoffNets(steps=STEPS), kept="logits"),
    Sybil(base=KnockoffNets(steps=STEPS)),
    Argmax(base=Averaging(base=BenignMix(base=Sybil(base=KnockoffNets(steps=STEPS)), steps=STEPS))),
]
NAMES = [
    *("knockoff", "knockoff-adaptive", *STRATEGIES, "swiftthief", "uniform-noise", "jbda", "jbda-tr", "jbda-reservoir"),
    *("cam-matching", "collage"),
    *("equation-solving", "retraining", "retraining-line-search", "retraining-adaptive"),
    *("dfme", "maze", "disguide", "es-attack", "marich", "argmax-knockoff", "argmax-equation-solving"),
    *(
        "averaging",
        "benign-mix",
        "confidence-filter",
        "half-argmax",
        "logit-subspace",
        "noise-inversion",
        "recovery-network",
        "recovery-table",
        "self-training",
        "rank-sharpening",
        "standardised-logits",
        "sybil",
        "four-deep",
    ),
]


def probed(attack):
    """How many rows a probe may ask that are asked again."""
    return 3 * attack.probe if isinstance(attack, Averaging) else probed(attack.base) if hasattr(attack, "base") else 0


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
class TestEveryAttack:
    @pytest.mark.parametrize("budget", [1, 7, 64, 1000])
    @pytest.mark.parametrize("task", [TABLE, IMAGES], ids=["table", "images"])
    def test_spends_the_budget_exactly_and_asks_no_row_twice(self, attack, task, budget):
        assert attack.min_budget(task) == 1
        oracle = ToyOracle(VICTIMS["softmax_victim"], budget, task)
        play(attack, oracle)
        below_a_round = "budget below one round" in attack.stops_early and budget < 64
        assert oracle.remaining == (budget if below_a_round else 0)
        assert len(set(oracle.digests)) >= oracle.rows - probed(attack)

    @pytest.mark.parametrize("victim", VICTIMS)
    @pytest.mark.parametrize("refuse_every", [0, 1, 3])
    def test_survives_any_answers_and_refused_rows(self, attack, victim, refuse_every):
        oracle = ToyOracle(VICTIMS[victim], 64, refuse_every=refuse_every)
        play(attack, oracle)
        assert oracle.remaining == 0

    def test_the_seed_decides_transcript_and_clone(self, attack):
        def once(seed):
            oracle = ToyOracle(VICTIMS["softmax_victim"], 64, IMAGES)
            clone = play(attack, oracle, seed=seed)
            return oracle.transcript, digest(clone)

        assert once(0) == once(0)
        if not isinstance(attack, EquationSolving | Argmax):  # whose solution may be the same for every seed
            assert once(0) != once(1)

    def test_stops_for_a_declared_reason_when_the_pool_is_small(self, attack):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 200)
        play(attack, oracle, rows=30)
        assert oracle.remaining == 0 or "pool exhausted" in attack.stops_early

    def test_returns_a_clone_when_there_is_no_time(self, attack):
        oracle = ToyOracle(VICTIMS["labels"], 100)
        play(attack, oracle, seconds=0.0)
        assert oracle.remaining == 0 or "deadline" in attack.stops_early

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_trains_on_the_device_of_its_ground(self, attack):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 64, IMAGES)
        clone = attack.extract(oracle, context(IMAGES, device="cuda"), rng=torch.Generator().manual_seed(0))
        assert oracle.remaining == 0
        assert all(value.is_cuda and bool(value.isfinite().all()) for value in clone.state_dict().values())
