import pytest
import torch

from arena.contracts import BadParameter
from arena.defenses.reverse_sigmoid import ReverseSigmoid, perturbed


@pytest.mark.parametrize(
    ("row", "beta", "gamma", "expected"),
    [
        ([0.9, 0.1], 1.0, 0.1, [0.8453, 0.1547]),
        ([0.9, 0.06, 0.04], 1.0, 0.1, [0.7738, 0.1175, 0.1087]),
        ([0.9, 0.06, 0.04], 3.0, 1.0, [0.0, 0.4929, 0.5071]),
        ([0.9, 0.06, 0.04], 0.0, 0.1, [0.9, 0.06, 0.04]),
    ],
)
def test_by_hand(row, beta, gamma, expected):
    rows = perturbed(torch.tensor([row]), beta=beta, gamma=gamma)
    assert torch.allclose(rows, torch.tensor([expected]).double(), atol=5e-5)


def test_a_negative_beta_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="beta"):
        ReverseSigmoid(beta=-1.0)
