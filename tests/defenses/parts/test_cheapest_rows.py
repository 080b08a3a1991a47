import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from arena.defenses.parts.cheapest_rows import cheapest_rows, cheapest_rows_keeping_argmax

ROW = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)


def solved(costs, row, *, epsilon, margin=None):
    """The same programme for one row by HiGHS: its least value, None if it has no solution."""
    classes = len(row)
    one, none = np.eye(classes), np.zeros((classes, classes))
    left = [np.hstack([one, -one]), np.hstack([-one, -one]), np.hstack([none[:1], np.ones((1, classes))])]
    right = [row, -row, [epsilon]]
    if margin is not None:
        others = np.delete(one - one[row.argmax()], row.argmax(), axis=0)
        left.append(np.hstack([others, none[1:]]))
        right.append(np.full(classes - 1, -margin))
    found = linprog(
        np.concatenate([costs, np.zeros(classes)]),
        A_ub=np.vstack(left),
        b_ub=np.concatenate(right),
        A_eq=np.concatenate([np.ones(classes), np.zeros(classes)])[None],
        b_eq=[1],
        method="highs",
    )
    return found.fun if found.status == 0 else None


def problems(classes, rows=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    y = torch.randn(rows, classes, generator=random, dtype=torch.float64).mul(3).softmax(dim=1)
    g = torch.randn(rows, classes, generator=random, dtype=torch.float64)
    return torch.cat([g, (y + 1e-6).log()]), torch.cat([y, y])  # any costs, and those that grow with the rows


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("classes", [3, 5, 10])
@pytest.mark.parametrize("margin", [None, 0.0, 1e-4])
def test_costs_what_a_solver_of_linear_programmes_pays(classes, epsilon, margin):
    g, y = problems(classes)
    x = (
        cheapest_rows(g, y, epsilon=epsilon)
        if margin is None
        else cheapest_rows_keeping_argmax(g, y, epsilon=epsilon, margin=margin)
    )
    value = (g * x).sum(dim=1)
    for row in range(len(y)):
        least = solved(g[row].numpy(), y[row].numpy(), epsilon=epsilon, margin=margin)
        assert abs(float(value[row]) - least) <= 1e-9


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 2.0])
def test_stays_on_the_simplex_within_the_distance_and_keeps_the_argmax(classes, epsilon):
    g, y = problems(classes, rows=20)
    y[0] = torch.eye(classes)[0]  # one-hot
    y[1] = 1 / classes  # ties everywhere
    free, kept = (
        cheapest_rows(g, y, epsilon=epsilon),
        cheapest_rows_keeping_argmax(g, y, epsilon=epsilon, margin=1e-6),
    )
    for x in (free, kept):
        assert float(x.min()) >= -1e-15
        assert torch.allclose(x.sum(dim=1), torch.ones(len(x), dtype=torch.float64), atol=1e-12)
        assert float((x - y).abs().sum(dim=1).max()) <= epsilon + 1e-12
    assert torch.equal(kept.argmax(dim=1), y.argmax(dim=1))
    assert bool(((g * free).sum(dim=1) <= (g * kept).sum(dim=1) + 1e-12).all())


@pytest.mark.parametrize(
    ("epsilon", "row"), [(0.4, [0.5, 0.2, 0.3]), (0.6, [0.4, 0.2, 0.4]), (0.8, [1 / 3] * 3), (1.0, [1 / 3] * 3)]
)
def test_by_hand_with_the_argmax_kept(epsilon, row):
    x = cheapest_rows_keeping_argmax((ROW + 1e-6).log(), ROW, epsilon=epsilon, margin=0.0)
    assert torch.allclose(x, torch.tensor([row], dtype=torch.float64), atol=1e-12)


def test_by_hand_without():
    x = cheapest_rows(torch.tensor([[0.5, -0.1, -0.4]]), ROW, epsilon=0.4)
    assert torch.allclose(x, torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64))


def test_equal_costs_move_nothing():
    g = torch.ones(1, 3)
    assert torch.equal(cheapest_rows(g, ROW, epsilon=1.0), ROW)
    assert torch.allclose(cheapest_rows_keeping_argmax(g, ROW, epsilon=1.0, margin=0.0), ROW)


def test_ties_that_the_distance_cannot_part_are_left_alone():
    y = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    g = torch.tensor([[1.0, 0.0, 0.0]])
    assert torch.equal(cheapest_rows_keeping_argmax(g, y, epsilon=1e-5, margin=1e-3), y)
    assert float(cheapest_rows_keeping_argmax(g, y, epsilon=1e-2, margin=1e-3)[0].diff()[0]) == pytest.approx(-1e-3)


def test_a_row_is_the_same_beside_any_other():
    g, y = problems(10, rows=30)
    together = cheapest_rows_keeping_argmax(g, y, epsilon=0.5, margin=1e-4)
    alone = [cheapest_rows_keeping_argmax(g[[row]], y[[row]], epsilon=0.5, margin=1e-4) for row in range(len(y))]
    assert torch.equal(together, torch.cat(alone))
