import pytest
import torch

from arena.attacks.parts.simulation import SimulatedDefense, simulable
from arena.contracts import Spec
from arena.defenses.reverse_sigmoid import ReverseSigmoid, perturbed
from arena.defenses.rounding import Rounding
from arena.registry import build_defense
from tests.attacks.toy import TABLE

ROWS = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
INPUTS = torch.rand(40, *TABLE.shape, generator=torch.Generator().manual_seed(1))


def simulated(defense, seed=0):
    return SimulatedDefense(defense, TABLE, on=torch.device("cpu"), rng=torch.Generator().manual_seed(seed))


def test_a_map_of_rows_is_run_on_rows_of_ones_own():
    found = simulated(ReverseSigmoid(beta=1.0, gamma=0.2))(INPUTS, ROWS)
    assert torch.allclose(found.double(), perturbed(ROWS, beta=1.0, gamma=0.2), atol=1e-6)


def test_rows_change_from_call_to_call():
    rounded = simulated(Rounding(decimals=1))
    assert rounded(INPUTS[:5], ROWS[:5]).shape == (5, 3)
    assert torch.equal(rounded(INPUTS, ROWS)[:5], rounded(INPUTS[:5], ROWS[:5]))


def test_a_surrogate_is_a_random_network_of_the_attackers():
    one, other = (simulated(build_defense(Spec(name="mad")), seed)(INPUTS, ROWS) for seed in (0, 1))
    assert float((one - ROWS).abs().sum(dim=1).mean()) == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["mad", "mad-argmax", "modelguard-w", "reverse-sigmoid", "rounding", "top-k"])
def test_maps_of_rows_can_be_simulated(name):
    assert simulable(build_defense(Spec(name=name)))


@pytest.mark.parametrize("name", ["adaptive-misinformation", "deep-defense", "diverse-ensemble", "hoda", "prada"])
def test_what_is_trained_or_remembers_cannot(name):
    defense = build_defense(Spec(name=name))
    assert not simulable(defense)
    assert not simulable(Rounding(base=defense))
