import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.defenses.misleader import Misleader, augmented, divergence
from tests.defenses.toy import LinearVictim, context, deployed, inputs


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_divergence_by_hand():
    member, clone = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert float(divergence(member, clone)) == pytest.approx(0.0851, abs=1e-4)


def test_the_clone_is_no_part_of_what_the_member_learns():
    """The second term's derivative reaches the member."""
    member = torch.tensor([[0.7, 0.2, 0.1]]).log().requires_grad_(True)
    (slope,) = torch.autograd.grad(divergence(member, torch.zeros(1, 3)), member)
    assert float(slope.abs().max()) > 0


def test_the_distillation_by_hand():
    victim, member = torch.tensor([[0.8, 0.1, 0.1]]).log(), torch.tensor([[0.7, 0.2, 0.1]]).log()
    loss = Misleader(temperature=1.0, share=1.0)._distillation(member, victim, torch.tensor([0]))
    assert float(loss) == pytest.approx(0.0375, abs=1e-4)


def test_augmented_rows_are_fresh_each_time_and_stay_in_range():
    images, draws = torch.rand(4, 1, 8, 8, generator=rng()), rng(1)
    one, other = (augmented(images, rng=draws) for _ in range(2))
    assert not torch.equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1


def test_the_answer_is_the_mean_of_the_members():
    names = ("mlp-8", "mlp-16")
    both = deployed(Misleader(architectures=names, steps=3))(inputs())
    state = Misleader(architectures=names, steps=3).train(context(), rng=rng())
    assert {name.partition("/")[0] for name in state} == {"member-0", "member-1"}
    assert torch.allclose(both.sum(dim=1), torch.ones(len(both)), atol=1e-5)


def test_members_learn_to_decide_as_the_victim_does():
    asked, victim = inputs(400), LinearVictim()
    rows = deployed(Misleader(steps=300, inner=1))(asked)
    assert float((rows.argmax(dim=1) == victim(asked).argmax(dim=1)).float().mean()) > 0.7


def test_the_weight_of_the_clone_matters():
    rows = [deployed(Misleader(extractability=weight, steps=20))(inputs()) for weight in (0.0, 1.0)]
    assert not torch.allclose(*rows, atol=1e-3)


@pytest.mark.parametrize("fields", [{"extractability": -1.0}, {"temperature": 0.0}, {"share": 2.0}, {"inner": 0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must be"):
        Misleader(**fields)


def test_an_architecture_that_does_not_suit_the_task_is_refused_before_a_match():
    with pytest.raises(BadParameter, match="small-cnn takes images"):
        Misleader(architectures=("mlp", "small-cnn")).check(Task(shape=(5,), classes=6))
