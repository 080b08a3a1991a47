import torch

from arena.defenses.label_only import LabelOnly
from tests.defenses.toy import LinearVictim, deployed, inputs


def test_releases_the_one_hot_row_of_the_argmax():
    rows = deployed(LabelOnly())(inputs())
    assert torch.equal(rows.argmax(dim=1), LinearVictim()(inputs()).argmax(dim=1))
    assert rows.unique().tolist() == [0.0, 1.0]
