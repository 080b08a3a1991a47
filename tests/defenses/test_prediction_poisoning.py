import itertools
import math
from dataclasses import replace

import pytest
import torch

from arena.contracts import BadParameter, NeedUnmet, Task
from arena.defenses.prediction_poisoning import LEAD, PredictionPoisoning, angles, poisoned
from arena.learning.architectures import build
from tests.defenses.toy import context

Y, P = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.2, 0.3, 0.5]])


def pairs(rows, classes, *, seed=0, spread=2.0):
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, classes, generator=random).mul(scale).softmax(dim=1) for scale in (3.0, spread))


def one_by_one(y, p, epsilon, *, argmax, search):
    """The paper's search as a loop over vertices, for a single row: the reference that the batched one must equal."""
    y, p = y.double(), p.double()
    predicted = int(y.argmax())
    sets = itertools.product((0.0, 1.0), repeat=len(y)) if argmax else torch.eye(len(y)).tolist()
    best, found = math.inf, y
    for members in sets:
        vertex = torch.tensor(members, dtype=torch.float64)
        if argmax:
            if not vertex[predicted]:
                continue
            vertex[predicted] += LEAD
            vertex /= vertex.sum()
        weight = min(1.0, epsilon / max(float((vertex - y).abs().sum()), 1e-8))
        row = (1 - weight) * y + weight * vertex
        judged = (vertex if search == "paper" else row) - p
        if judged.norm() > 1e-8:
            score = float((y - p) @ judged / judged.norm() / (y - p).norm())
            if score < best:
                best, found = score, row
    return found


@pytest.mark.parametrize(
    ("epsilon", "argmax", "search", "row", "angle"),
    [
        (0.2, True, "paper", [0.65, 0.15, 0.20], 8.213),
        (0.2, True, "scaled", [0.6333, 0.30, 0.0667], 10.893),
        (0.2, False, "paper", [0.6222, 0.1778, 0.20], 5.443),
        (0.2, False, "scaled", [0.6125, 0.30, 0.0875], 10.893),
        (0.5, True, "paper", [0.575, 0.075, 0.35], 25.693),
        (0.5, True, "scaled", [0.5333, 0.45, 0.0167], 28.541),
        (0.5, False, "paper", [0.5056, 0.1444, 0.35], 19.708),
        (0.5, False, "scaled", [0.4813, 0.45, 0.0688], 30.927),
        (1.0, True, "paper", [0.5, 0.0, 0.5], 49.106),
        (1.0, True, "scaled", [0.5, 0.0, 0.5], 49.106),
        (1.0, False, "paper", [0.3111, 0.0889, 0.6], 77.366),
        (1.0, False, "scaled", [0.3111, 0.0889, 0.6], 77.366),
    ],
)
def test_by_hand(epsilon, argmax, search, row, angle):
    rows = poisoned(Y, P, epsilon=epsilon, argmax=argmax, search=search)
    assert torch.allclose(rows, torch.tensor([row]).double(), atol=1e-4)
    assert float(angles(rows, Y, P)) == pytest.approx(angle, abs=2e-3)


@pytest.mark.parametrize(("row", "angle"), [([0.45, 0.2, 0.35], 12.5198), ([0.45, 0.45, 0.1], 32.680)])
def test_the_angle_is_that_of_the_last_layers_gradients(row, angle):
    features = torch.tensor([0.3, -1.2, 0.5, 2.0], dtype=torch.float64)
    logits = P[0].double().log()
    gradients = []
    for target in (Y[0].double(), torch.tensor(row, dtype=torch.float64)):
        weights = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
        loss = -(target * (weights @ features + logits).log_softmax(dim=0)).sum()
        gradients.append(torch.autograd.grad(loss, weights)[0].flatten())
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    formula = float(angles(torch.tensor([row]), Y, P))
    assert math.degrees(math.acos(float(cosine))) == pytest.approx(formula, abs=1e-4)
    assert formula == pytest.approx(angle, abs=1e-3)


@pytest.mark.parametrize("argmax", [True, False])
@pytest.mark.parametrize("search", ["paper", "scaled"])
@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 1.8])
def test_equals_the_search_one_by_one(epsilon, search, argmax):
    y, p = pairs(12, 6)
    rows = poisoned(y, p, epsilon=epsilon, argmax=argmax, search=search)
    reference = [one_by_one(*pair, epsilon, argmax=argmax, search=search) for pair in zip(y, p, strict=True)]
    assert torch.allclose(rows, torch.stack(reference), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
@pytest.mark.parametrize("argmax", [True, False])
@pytest.mark.parametrize("spread", [0.1, 2.0])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_scaling_first_is_never_worse_and_both_stay_in_the_ball(classes, argmax, spread, norm):
    y, p = pairs(40, classes, spread=spread)
    for epsilon in (0.1, 0.5, 1.0, 1.8):
        by_search = {}
        for search in ("paper", "scaled"):
            rows = poisoned(y, p, epsilon=epsilon, norm=norm, argmax=argmax, search=search)
            assert float((rows - y).norm(dim=1, p=1 if norm == "l1" else 2).max()) <= epsilon + 1e-6
            u, v = y.double() - p.double(), rows - p.double()
            by_search[search] = -(u * v).sum(dim=1) / u.norm(dim=1) / v.norm(dim=1)
        assert bool((by_search["scaled"] >= by_search["paper"] - 1e-9).all())


def test_prefixes_come_close_to_all_sets(monkeypatch):
    y, p = pairs(60, 10)
    every = angles(poisoned(y, p, epsilon=0.5, argmax=True), y, p)
    monkeypatch.setattr("arena.defenses.prediction_poisoning.EXHAUSTIVE_CLASSES", 2)
    prefixes = angles(poisoned(y, p, epsilon=0.5, argmax=True), y, p)
    assert float(prefixes.mean() / every.mean()) > 0.97


def greedily(y, p, epsilon):
    """The authors' search above 10 classes as a loop, for a single row: sets grow by the best class in every round."""
    y, p = y.double(), p.double()
    members, evaluations = [int(y.argmax())], 0
    best, found = math.inf, y
    while evaluations < 1_024 and len(members) < len(y):
        scores = {}
        for added in sorted(set(range(len(y))) - set(members)):
            vertex = torch.zeros_like(y)
            vertex[[*members, added]] = 1.0
            vertex[members[0]] += LEAD
            vertex /= vertex.sum()
            scores[added] = float((y - p) @ (vertex - p) / (vertex - p).norm() / (y - p).norm()), vertex
        evaluations += len(scores)
        added = min(scores, key=lambda one: round(scores[one][0], 10))
        members.append(added)
        if scores[added][0] < best:
            best, found = scores[added]
    weight = min(1.0, epsilon / float((found - y).abs().sum()))
    return (1 - weight) * y + weight * found


@pytest.mark.parametrize("classes", [11, 14, 60])
@pytest.mark.parametrize("spread", [0.1, 2.0])
def test_the_papers_search_above_ten_classes_is_the_authors(classes, spread):
    y, p = pairs(8, classes, spread=spread)
    rows = poisoned(y, p, epsilon=0.5, argmax=True, search="paper")
    reference = [greedily(*pair, 0.5) for pair in zip(y, p, strict=True)]
    assert torch.allclose(rows, torch.stack(reference), atol=1e-6)


def test_a_thousand_classes_are_released_on_the_simplex():
    y, p = pairs(2, 1000)
    rows = poisoned(y, p, epsilon=0.5, argmax=True)
    assert torch.allclose(rows.sum(dim=1), torch.ones(2).double())
    assert float(angles(rows, y, p).min()) > 1.0


def test_no_distance_is_the_clean_row():
    y, p = pairs(20, 10)
    for argmax in (True, False):
        assert torch.allclose(poisoned(y, p, epsilon=0.0, argmax=argmax), y.double())


def test_a_surrogate_that_agrees_leaves_the_clean_row():
    y, _ = pairs(20, 10)
    assert torch.equal(poisoned(y, y, epsilon=1.0, argmax=True), y.double())


def test_without_a_surrogate_the_need_is_named():
    bare = replace(context(), surrogate=None)
    with pytest.raises(NeedUnmet, match="surrogate"):
        PredictionPoisoning().deploy(bare, {}, rng=torch.Generator())


@pytest.mark.parametrize(
    ("task", "said"),
    [(Task(shape=(5,), classes=3), "returns 3 numbers"), (Task(shape=(4,), classes=6), "does not accept")],
)
def test_a_surrogate_of_another_task_is_refused(task, said):
    foreign = build("mlp", task, rng=torch.Generator().manual_seed(0))
    with pytest.raises(BadParameter, match=said):
        PredictionPoisoning().deploy(replace(context(), surrogate=foreign), {}, rng=torch.Generator())


@pytest.mark.parametrize("epsilon", [-0.1, 2.1])
def test_a_distance_that_no_two_rows_have_is_a_bad_parameter(epsilon):
    with pytest.raises(BadParameter, match="apart"):
        PredictionPoisoning(epsilon=epsilon)
