import pytest
import torch

from arena.attacks.marich import Marich, entropy_gradients, losses, nearest_of_each
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import BadParameter
from arena.learning.architectures import build
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, play

SOFT = VICTIMS["softmax_victim"]


def attack(**fields):
    return Marich(**{"rounds": 4, "steps": 5, "steps_inner": 5, **fields})


def clone():
    return build("mlp", TABLE, rng=torch.Generator().manual_seed(0)).eval()


def test_centres_take_their_nearest_points_in_turn():
    points, centres = torch.tensor([[0.0], [1.0], [2.0], [9.0]]), torch.tensor([[0.1], [8.0]])
    assert nearest_of_each(points, centres, 3).tolist() == [0, 3, 1]


def test_a_point_near_two_centres_is_taken_once_and_all_points_are_there_in_the_end():
    points, centres = torch.tensor([[0.0], [5.0], [6.0]]), torch.tensor([[0.0], [0.1]])
    assert nearest_of_each(points, centres, 2).tolist() == [0, 1]
    assert sorted(nearest_of_each(points, centres, 9).tolist()) == [0, 1, 2]


def test_the_gradient_of_the_entropy_is_that_of_finite_differences():
    network, inputs = clone().double(), torch.rand(3, 6, dtype=torch.float64)

    def total(x):
        rows = network(x).softmax(dim=1)
        return float(-(rows * rows.log()).sum().detach())

    step = torch.zeros(3, 6, dtype=torch.float64)
    step[1, 2] = 1e-6
    slope = (total(inputs + step) - total(inputs - step)) / 2e-6
    assert float(entropy_gradients(network, inputs)[1, 2]) == pytest.approx(slope, abs=1e-6)


def test_refused_rows_have_no_loss():
    known = TransferSet(ToyOracle(SOFT, 30, refuse_every=3))
    known.extend(torch.rand(30, 6))
    found = losses(clone(), known)
    assert bool((found[::3] == 0).all())
    assert bool((found[1::3] > 0).all())


def test_spends_its_seed_and_equal_rounds_on_rows_of_the_pool():
    oracle = ToyOracle(SOFT, 100)
    play(attack(), oracle)
    assert [len(call) for call in oracle.calls] == [20, 20, 20, 20, 20]
    pool = {row.numpy().tobytes() for row in context(TABLE).pool}
    assert all(row.numpy().tobytes() in pool for call in oracle.calls for row in call)


def test_asks_for_rows_of_which_its_clone_is_unsure():
    oracle = ToyOracle(SOFT, 200)
    play(attack(rounds=1, steps_inner=200), oracle)
    chosen, random = oracle.calls[1], context(TABLE).pool

    def unsure(rows):
        top = SOFT(rows).topk(2, dim=1).values
        return float((top[:, 0] - top[:, 1]).mean())

    assert unsure(chosen) < unsure(random) - 0.1


@pytest.mark.parametrize("fields", [{"near_share": 0.0}, {"apart_share": 1.2}, {"centres": 0}, {"rounds": 0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must"):
        attack(**fields)
