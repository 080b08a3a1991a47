import pytest
import torch

from arena.attacks.parts.kinks import Hyperplane, Line, Observed
from arena.attacks.parts.relu_units import Units, as_clone, fitted, no_units, polished
from arena.contracts import Task

COLUMNS, UNITS, CLASSES = 5, 3, 4


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def units():
    normals = torch.randn(UNITS, COLUMNS, generator=rng(1), dtype=torch.float64)
    normals = normals / normals.norm(dim=1, keepdim=True)
    return Units(normals=normals, offsets=-(normals * 0.5).sum(dim=1))  # through the middle of the box


def rows(of, number=300, seed=2):
    """Values of a function with the units, at uniform points."""
    points = torch.rand(number, COLUMNS, generator=rng(seed), dtype=torch.float64)
    coefficients = torch.randn(UNITS + COLUMNS + 1, CLASSES, generator=rng(3), dtype=torch.float64)
    features = torch.cat([of.inputs(points).abs(), points, torch.ones(number, 1, dtype=torch.float64)], dim=1)
    return Observed(points=points, values=features @ coefficients)


def moved(of, by):
    shifted = of.normals + by * torch.randn(of.normals.shape, generator=rng(4), dtype=torch.float64)
    return Units(normals=shifted / shifted.norm(dim=1, keepdim=True), offsets=of.offsets + by)


def test_a_fit_with_the_right_units_explains_everything():
    assert float(fitted(units(), rows(units())).errors(rows(units(), seed=5)).max()) < 1e-12


def test_a_polish_finds_the_hyperplanes_and_the_sign_of_a_normal_does_not_matter():
    turned = Units(normals=-moved(units(), 1e-3).normals, offsets=-moved(units(), 1e-3).offsets)
    before = fitted(turned, rows(units()))
    after = polished(turned, rows(units()), iterations=8)
    assert float(before.errors(rows(units(), seed=5)).max()) > 1e-4
    assert float(after.errors(rows(units(), seed=5)).max()) < 1e-9


def test_a_polish_never_makes_a_fit_worse():
    far = moved(units(), 0.5)
    seen = rows(units())
    errors = [float(fit.left_of(seen).values.norm()) for fit in (fitted(far, seen), polished(far, seen, iterations=3))]
    assert errors[1] <= errors[0]


def test_nothing_to_polish_is_a_linear_fit():
    seen = rows(units())
    assert torch.equal(
        polished(no_units(COLUMNS), seen, iterations=8).coefficients, fitted(no_units(COLUMNS), seen).coefficients
    )


def test_units_that_contribute_nothing_are_dropped():
    more = units().with_unit(Hyperplane(normal=torch.eye(COLUMNS, dtype=torch.float64)[0], offset=torch.tensor(-0.5)))
    kept = fitted(more, rows(units())).without_negligible(1e-3).units
    assert torch.equal(kept.normals, units().normals)


def test_a_hyperplane_is_known_whichever_way_it_points():
    known = units()
    same = Hyperplane(normal=-known.normals[1], offset=-known.offsets[1] + 0.01)
    assert known.index_of(same) == 1
    assert known.index_of(Hyperplane(normal=known.normals[1], offset=known.offsets[1] + 0.2)) is None


def test_a_line_crosses_each_hyperplane_where_it_should():
    line = Line(start=torch.zeros(COLUMNS, dtype=torch.float64), way=torch.ones(COLUMNS, dtype=torch.float64))
    assert units().crossings(line).tolist() == pytest.approx([0.5] * UNITS)  # all pass through the middle


def test_the_clone_computes_the_fit_on_the_box():
    fit = fitted(units(), rows(units()))
    clone = as_clone(fit, Task(shape=(COLUMNS,), classes=CLASSES), rng=rng())
    points = torch.cat([torch.rand(200, COLUMNS, generator=rng(6)), torch.zeros(1, COLUMNS), torch.ones(1, COLUMNS)])
    with torch.no_grad():
        assert float((clone(points).double() - fit(points.double())).abs().max()) < 1e-5
    assert clone.architecture == f"mlp-{UNITS + CLASSES}"
