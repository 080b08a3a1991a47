import pytest
import torch

from arena.contracts import BadParameter
from arena.defenses.nasty_teacher import NastyTeacher, nasty_loss
from tests.defenses.toy import LinearVictim, deployed, inputs

LOGITS, ORDINARY = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0]])


@pytest.mark.parametrize(("weight", "loss"), [(0.0, 0.23954), (0.04, 0.22541)])
def test_the_loss_by_hand(weight, loss):
    # the cross entropy is .23954, and the divergence at temperature 4 is .02209
    found = nasty_loss(LOGITS, ORDINARY, torch.tensor([0]), weight=weight, temperature=4.0)
    assert float(found) == pytest.approx(loss, abs=1e-5)


def test_a_constant_added_to_the_ordinary_logits_changes_nothing():
    found = [
        float(nasty_loss(LOGITS, ORDINARY + shift, torch.tensor([0]), weight=1.0, temperature=2.0)) for shift in (0, 7)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def softened_distance(weight: float) -> float:
    """The mean L1 distance from the victim, of answers whose logits are softened by 4."""
    asked, victim = inputs(200), LinearVictim()
    released = deployed(NastyTeacher(weight=weight, steps=300))(asked)
    soft = [(rows.clamp(min=1e-7).log() / 4).softmax(dim=1) for rows in (released, victim(asked))]
    return float((soft[0] - soft[1]).abs().sum(dim=1).mean())


def test_the_nastier_it_is_the_more_its_softened_answers_contradict():
    assert softened_distance(0.1) > softened_distance(0.0) + 0.1


def test_a_little_of_it_decides_as_an_ordinary_network():
    ordinary, nasty = (deployed(NastyTeacher(weight=weight, steps=300))(inputs(400)) for weight in (0.0, 0.005))
    assert float((ordinary.argmax(dim=1) == nasty.argmax(dim=1)).float().mean()) > 0.9
    assert not torch.equal(ordinary, nasty)


def test_it_answers_with_its_own_network():
    assert NastyTeacher.replaces_victim
    assert not torch.allclose(deployed(NastyTeacher(steps=5))(inputs()), LinearVictim()(inputs()), atol=1e-3)


@pytest.mark.parametrize("fields", [{"weight": -0.1}, {"temperature": 0.0}, {"steps": 0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must be"):
        NastyTeacher(**fields)
