import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.defenses.label_only import LabelOnly
from arena.defenses.top_k import TopK, truncated
from tests.defenses.toy import LinearVictim, deployed, inputs

ROW = torch.tensor([[0.5, 0.3, 0.15, 0.05]])


@pytest.mark.parametrize(("rest", "expected"), [("zero", [0.625, 0.375, 0, 0]), ("spread", [0.5, 0.3, 0.1, 0.1])])
def test_by_hand(rest, expected):
    assert torch.allclose(truncated(ROW, 2, rest=rest), torch.tensor([expected]).double())


def test_the_top_one_is_label_only():
    assert torch.equal(deployed(TopK(k=1))(inputs()), deployed(LabelOnly())(inputs()))


def test_by_default_more_is_released_than_the_label():
    rows = deployed(TopK())(inputs())
    assert bool(((rows > 0).sum(dim=1) == 2).all())


def test_all_k_is_no_defense():
    assert torch.equal(deployed(TopK(k=6))(inputs()), LinearVictim()(inputs()))


def test_keeping_nothing_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="at least one"):
        TopK(k=0)


def test_more_posteriors_than_classes_are_refused_for_a_task():
    task = Task(shape=(5,), classes=6)
    TopK(k=6).check(task)
    for defense in (TopK(k=7), LabelOnly(base=TopK(k=7))):
        with pytest.raises(BadParameter, match="k = 7, and this task has 6 classes"):
            defense.check(task)
