import pytest
import torch

from arena.contracts import BadParameter
from arena.defenses.rounding import Rounding, rounded


def test_by_hand():
    rows = rounded(torch.tensor([[0.62, 0.25, 0.13]]), 1)  # .25 is half way and goes to the even .2
    assert torch.allclose(rows, torch.tensor([[6, 2, 1]]).double() / 9)


def test_what_rounds_to_nothing_becomes_one_hot():
    rows = rounded(torch.full((1, 200), 1 / 200), 2)
    assert rows[0, 0] == 1.0


def test_a_tie_goes_to_the_victims_class_by_one_unit():
    rows = rounded(torch.tensor([[0.48, 0.52]]), 1)
    assert torch.allclose(rows, torch.tensor([[5, 6]]).double() / 11)


def test_a_negative_number_of_decimals_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="decimals"):
        Rounding(decimals=-1)
