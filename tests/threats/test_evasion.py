import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.learning.architectures import build
from arena.threats.evasion import VARIANTS, EvasionTransfer, fgsm, fooled
from tests.attacks.toy import TABLE, ToyOracle
from tests.threats.toy import threat_context

TWO = Task(shape=(4,), classes=2)
WEIGHTS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [-1.0, 1.0, 1.5, -1.0]])  # rows of classes 0 and 1


def linear(task=TWO, weights=WEIGHTS):
    clone = build("linear", task, rng=torch.Generator().manual_seed(0)).eval()
    layer = next(module for module in clone.modules() if isinstance(module, torch.nn.Linear))
    with torch.no_grad():
        layer.weight.copy_(weights)
        layer.bias.zero_()
    return clone


def test_the_step_of_a_linear_clone_by_hand():
    x = torch.full((1, 4), 0.5)
    # towards class 1: up z_1 - z_0, whose gradient is (-2, 3, 1, -4)
    moved = fgsm(linear(), x, torch.tensor([1]), epsilon=0.1, towards=True)
    assert torch.allclose(moved, torch.tensor([[0.4, 0.6, 0.6, 0.4]]))
    away = fgsm(linear(), x, torch.tensor([0]), epsilon=0.1, towards=False)
    assert torch.allclose(away, moved)


@pytest.mark.parametrize(("margin_in_epsilons", "fools"), [(0.9, True), (1.1, False)])
def test_where_the_clone_is_the_victim_a_step_fools_exactly_if_it_exceeds_the_margin(margin_in_epsilons, fools):
    epsilon, gap = 0.1, torch.tensor([2.0, -3.0, -1.0, 4.0])  # w_0 - w_1, of L1 norm 10
    x = torch.full((1, 4), 0.5)
    x = x + (margin_in_epsilons * epsilon * 10 - float(x @ gap)) / float(gap @ gap) * gap  # x . gap is the margin
    assert bool(((x > epsilon) & (x < 1 - epsilon)).all()), "no pixel may clip"
    clone = linear()
    oracle = ToyOracle(lambda rows: clone(rows).detach().softmax(dim=1), 100, TWO)
    found = EvasionTransfer(epsilons=(epsilon,)).assess(
        clone, oracle, threat_context(x, torch.tensor([0])), rng=torch.Generator().manual_seed(0)
    )
    for name in ("fgsm", "pgd", "fgsm-targeted", "pgd-targeted", "clone"):
        assert found.counts[f"{epsilon}/{name}"] == (int(fools), 1)


def test_only_rows_that_the_victim_labels_rightly_are_attacked_and_every_row_is_paid():
    clone = linear(TABLE, torch.randn(3, 6, generator=torch.Generator().manual_seed(1)))
    inputs = torch.rand(200, 6, generator=torch.Generator().manual_seed(2))
    rows = clone(inputs).detach().argmax(dim=1)
    labels = rows.clone()
    labels[::2] = (labels[::2] + 1) % 3  # half are wrong
    oracle = ToyOracle(lambda asked: clone(asked).detach().softmax(dim=1), 1_000, TABLE)
    threat = EvasionTransfer()
    found = threat.assess(clone, oracle, threat_context(inputs, labels), rng=torch.Generator().manual_seed(0))
    asked = 1_000 // threat.min_budget(TABLE)
    attacked = found.counts["attacked"]
    assert attacked[1] == asked == 90
    assert 30 < attacked[0] < 60
    assert 1_000 - oracle.remaining == asked + 2 * VARIANTS * attacked[0]
    assert all(total == attacked[0] for name, (_, total) in found.counts.items() if name != "attacked")


def test_a_refused_answer_fools_nobody():
    assert fooled(torch.tensor([-1, 0, 1]), torch.tensor([0, 0, 0])) == (1, 3)
    assert fooled(torch.tensor([-1, 0, 1]), torch.tensor([0, 0, 0]), targets=torch.tensor([1, 1, 1])) == (1, 3)


def test_a_victim_that_is_never_right_leaves_nothing_to_attack():
    inputs, labels = torch.rand(20, 6), torch.zeros(20, dtype=torch.int64)
    oracle = ToyOracle(lambda rows: torch.eye(3)[1].expand(len(rows), -1), 200, TABLE)
    found = EvasionTransfer().assess(
        linear(TABLE, torch.zeros(3, 6)), oracle, threat_context(inputs, labels), rng=torch.Generator().manual_seed(0)
    )
    assert found.counts == {"attacked": (0, 18)}


@pytest.mark.parametrize("epsilons", [(), (0.0,), (1.5,)])
def test_a_size_that_is_none_is_a_bad_parameter(epsilons):
    with pytest.raises(BadParameter, match="epsilons"):
        EvasionTransfer(epsilons=epsilons)
