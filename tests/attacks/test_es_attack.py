import pytest
import torch

from arena.attacks.es_attack import EsAttack, answered_as, dirichlet
from arena.contracts import BadParameter
from arena.learning.architectures import build
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, play

SOFT = VICTIMS["softmax_victim"]


def attack(**fields):
    return EsAttack(**{"rounds": 4, "iterations": 5, "steps": 5, "steps_inner": 5, **fields})


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_drawn_rows_are_on_the_simplex_and_surer_the_smaller_the_concentration():
    rows = [dirichlet(500, 4, concentration=value, rng=rng()) for value in (0.1, 1.0, 10.0)]
    assert all(torch.allclose(one.sum(dim=1), torch.ones(500), atol=1e-5) for one in rows)
    largest = [float(one.max(dim=1).values.mean()) for one in rows]
    assert largest[0] > 0.8 > 0.6 > largest[1] > 0.4 > largest[2]


def test_inputs_are_moved_until_the_clone_answers_as_was_drawn():
    clone = build("mlp", TABLE, rng=rng()).eval()
    start, wanted = torch.rand(50, 6, generator=rng(1)), torch.eye(3)[torch.arange(50) % 3]

    def agreement(inputs):
        return float((clone(inputs).softmax(dim=1) * wanted).sum(dim=1).mean().detach())

    moved = answered_as(clone, start, wanted, iterations=60, rate=0.05)
    assert agreement(moved) > agreement(start) + 0.03
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_spends_equal_rounds_and_never_reads_the_pool():
    oracle = ToyOracle(SOFT, 42, IMAGES)
    play(attack(), oracle, rows=0)
    assert [len(call) for call in oracle.calls] == [10, 11, 10, 11]


def test_a_deadline_leaves_the_rest_of_the_budget_and_a_clone():
    oracle = ToyOracle(SOFT, 40, IMAGES)
    play(attack(), oracle, seconds=0.0)
    assert [len(call) for call in oracle.calls] == [10]


@pytest.mark.parametrize("fields", [{"rounds": 0}, {"rate": 0.0}, {"concentration": 0.0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must be"):
        attack(**fields)
