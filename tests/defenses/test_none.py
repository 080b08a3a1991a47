import torch

from arena.defenses.none import NoDefense
from tests.defenses.toy import LinearVictim, deployed, inputs


def test_the_victims_rows_go_out_bit_for_bit():
    assert torch.equal(deployed(NoDefense())(inputs()), LinearVictim()(inputs()))
