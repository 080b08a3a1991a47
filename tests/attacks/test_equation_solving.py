import math
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from arena.attacks.equation_solving import Affine, Check, EquationSolving, ExtractionInexact, axes, compared, solve
from arena.contracts import Task
from arena.learning.training import hardened, predict
from arena.match.clones import pack_clone, unpack_clone
from tests.attacks.toy import ToyOracle, context, digest, play

BINARY = Task(shape=(3,), classes=2)
DIGITS_SIZED = Task(shape=(1, 8, 8), classes=10)


def affine(weights, bias):
    return lambda inputs: (inputs.double().flatten(1) @ weights + bias).softmax(dim=1).float()


def binary_victim():
    weights = torch.tensor([[0, 0, 0], [1, -2, 0.5]], dtype=torch.float64).T
    return weights, torch.tensor([0, 0.25], dtype=torch.float64)


def random_victim(scale=0.3):
    random = torch.Generator().manual_seed(2)
    weights = scale * torch.randn(64, 10, generator=random, dtype=torch.float64)
    return weights, torch.randn(10, generator=random, dtype=torch.float64)


def layer(clone):
    return next(module for module in clone.modules() if isinstance(module, nn.Linear))


def worst_error(clone, weights, bias):
    found = torch.cat([layer(clone).weight.double().T, layer(clone).bias.double().unsqueeze(0)]).detach()
    true = torch.cat([weights, bias.unsqueeze(0)])
    centred = [rows - rows.mean(dim=1, keepdim=True) for rows in (found, true)]
    return float((centred[0] - centred[1]).abs().max())


def disagreement(clone, victim, shape=(1, 8, 8)):
    fresh = torch.rand(2000, *shape, generator=torch.Generator().manual_seed(8))
    return float((predict(clone, fresh).argmax(dim=1) != victim(fresh).argmax(dim=1)).float().mean())


def test_the_answer_to_zero_gives_the_bias_by_hand():
    rows = affine(*binary_victim())(axes(BINARY, scale=1.0))
    assert float(rows[0, 1]) == pytest.approx(0.562177, abs=1e-6)
    solved = solve(rows, scale=1.0)
    assert float(solved.bias[1] - solved.bias[0]) == pytest.approx(0.25, abs=1e-6)


def test_four_rows_recover_a_binary_model_of_three_inputs():
    oracle = ToyOracle(affine(*binary_victim()), 4, BINARY)
    assert worst_error(play(EquationSolving(), oracle), *binary_victim()) < 1e-6
    assert oracle.remaining == 0


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_d_plus_one_rows_recover_ten_classes_and_d_do_not(scale):
    victim = random_victim()
    enough, short = (ToyOracle(affine(*victim), rows, DIGITS_SIZED) for rows in (65, 64))
    assert worst_error(play(EquationSolving(input_scale=scale), enough), *victim) < 2e-6
    assert worst_error(play(EquationSolving(), short), *victim) > 0.1


def test_stops_once_the_check_rows_agree_unless_told_to_spend_all():
    sparing, spending = (ToyOracle(affine(*random_victim()), 200, DIGITS_SIZED) for _ in range(2))
    play(EquationSolving(n_check=10), sparing)
    play(EquationSolving(spend_all=True), spending)
    assert sparing.remaining == 200 - 65 - 10
    assert spending.remaining == 0


def rounded(inputs, decimals=2):
    rows = affine(*random_victim())(inputs)
    return rows.round(decimals=decimals)


def test_coarse_answers_are_noticed_before_the_axes_are_asked():
    oracle = ToyOracle(rounded, 200, DIGITS_SIZED)
    clone = play(EquationSolving(), oracle)
    assert [len(call) for call in oracle.calls] == [10, 190]
    assert clone.inexact == "the answers look rounded to 2 decimals"


def test_a_solution_and_a_fit_say_how_they_did_on_rows_that_they_were_not_made_from():
    exact, fitted, unchecked = (
        play(EquationSolving(), ToyOracle(victim, budget, DIGITS_SIZED))
        for victim, budget in ((affine(*random_victim()), 200), (rounded, 1300), (affine(*random_victim()), 65))
    )
    assert exact.inexact == unchecked.inexact == ""
    assert exact.check.rows == fitted.check.rows == 10
    assert exact.check.worst < 1e-6 < fitted.check.worst < 0.05
    assert exact.check.disagreement == fitted.check.disagreement == 0
    assert unchecked.check == Check(rows=0, worst=0.0, disagreement=0.0)


def test_a_check_by_hand():
    model = Affine(weights=torch.zeros(3, 2, dtype=torch.float64), bias=torch.tensor([0.0, math.log(3)]).double())
    answers = torch.tensor([[0.25, 0.75], [0.35, 0.65], [0.9, 0.1], [0.0, 1.0]])
    check = compared(model, torch.rand(4, 3), answers)
    assert check == Check(rows=4, worst=pytest.approx(0.65), disagreement=0.25)


def test_a_clone_with_a_report_travels_as_any_other():
    clone = play(EquationSolving(), ToyOracle(rounded, 200, DIGITS_SIZED))
    assert digest(unpack_clone(pack_clone(clone), DIGITS_SIZED)) == digest(clone)


@pytest.fixture(scope="module")
def digits():
    """Logistic regression on the digits: what it releases, rows to query, rows to be judged on."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images / 16, dtype=torch.float32)[
        torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    ]
    labels = labels[torch.randperm(1797, generator=torch.Generator().manual_seed(0))]
    trained = LogisticRegression(max_iter=1000).fit(inputs[:700].numpy(), labels[:700])
    weights, bias = (torch.tensor(found).double() for found in (trained.coef_.T, trained.intercept_))
    return affine(weights, bias), inputs[:1300], inputs[1300:]


@pytest.mark.parametrize(
    ("release", "design", "budget", "limit"),
    [
        (lambda rows: rows.round(decimals=2), "uniform", 1300, 0.01),
        (lambda rows: rows.round(decimals=1), "uniform", 1300, 0.04),
        (hardened, "pool", 1300, 0.04),
        (hardened, "pool", 325, 0.09),
    ],
    ids=["2-decimals", "1-decimal", "labels", "fewer-labels"],
)
def test_a_linear_victim_of_digits_is_stolen_through_coarse_answers(digits, release, design, budget, limit):
    victim, pool, judged = digits
    task = Task(shape=(64,), classes=10)
    oracle = ToyOracle(lambda inputs: release(victim(inputs)), budget, task)
    terms = replace(context(task), pool=pool)
    clone = EquationSolving(design=design).extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    wrong = predict(clone, judged).argmax(dim=1) != victim(judged).argmax(dim=1)
    assert oracle.remaining == 0
    assert float(wrong.float().mean()) <= limit


def test_a_model_that_is_not_linear_is_noticed_by_the_check():
    def curved(inputs):
        return affine(*random_victim())(inputs.square())

    strict, patient = (ToyOracle(curved, 100, DIGITS_SIZED) for _ in range(2))
    with pytest.raises(ExtractionInexact, match="not linear") as raised:
        play(EquationSolving(strict=True), strict)
    assert raised.value.check.rows == 10
    assert raised.value.check.worst > 0.1
    assert strict.remaining == 100 - 65 - 10
    play(EquationSolving(), patient)
    assert patient.remaining == 0


def test_strict_says_how_the_answers_are_rounded():
    with pytest.raises(ExtractionInexact, match="2 decimals") as raised:
        play(EquationSolving(strict=True), ToyOracle(rounded, 100, DIGITS_SIZED))
    assert raised.value.check is None


def test_strict_says_how_many_rows_it_takes():
    with pytest.raises(ExtractionInexact, match="it takes 65"):
        play(EquationSolving(strict=True), ToyOracle(affine(*random_victim()), 64, DIGITS_SIZED))
