import pytest
import torch

from arena.contracts import BadParameter
from arena.defenses.cmim import Cmim, information
from tests.defenses.toy import LinearVictim, deployed, inputs


def test_the_information_of_two_rows_by_hand():
    rows = torch.tensor([[0.8, 0.2], [0.6, 0.4]]).log()
    assert float(information(rows, torch.tensor([0, 0]))) == pytest.approx(0.02416, abs=1e-5)


def test_each_class_has_a_mean_of_its_own():
    rows = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.8, 0.2]]).log()
    assert float(information(rows, torch.tensor([0, 1, 0]))) == pytest.approx(0.0, abs=1e-6)


def spread(weight):
    """The mean variance, within a class, of answers whose logits are softened by 4."""
    rows = deployed(Cmim(weight=weight, steps=300))(inputs(300))
    softened, labels = (rows.clamp(min=1e-7).log() / 4).softmax(dim=1), rows.argmax(dim=1)
    return float(torch.stack([softened[labels == label].var(dim=0).sum() for label in labels.unique()]).mean())


def test_answers_of_a_class_become_alike():
    assert spread(5.0) < 0.5 * spread(0.0)


def test_it_answers_with_its_own_network():
    assert Cmim.replaces_victim
    assert not torch.allclose(deployed(Cmim(steps=5))(inputs()), LinearVictim()(inputs()), atol=1e-3)


@pytest.mark.parametrize("fields", [{"weight": -1.0}, {"temperatures": ()}, {"temperatures": (0.0,)}, {"steps": 0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must be"):
        Cmim(**fields)
