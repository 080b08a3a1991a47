import pytest
import torch
from torch import nn

from arena.attacks.equation_solving import EquationSolving, ExtractionInexact, axes, solve
from arena.contracts import Task
from arena.learning.training import predict
from tests.attacks.toy import ToyOracle, play

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


def test_rounded_answers_are_fitted_with_the_whole_budget():
    oracle = ToyOracle(rounded, 1300, DIGITS_SIZED)
    clone = play(EquationSolving(design="uniform"), oracle)
    assert oracle.remaining == 0
    assert disagreement(clone, affine(*random_victim())) < 0.03


def test_labels_are_fitted_too():
    def labels(inputs):
        return nn.functional.one_hot(affine(*random_victim())(inputs).argmax(dim=1), 10).float()

    clone = play(EquationSolving(), ToyOracle(labels, 1000, DIGITS_SIZED))
    assert disagreement(clone, labels) < 0.25


def test_a_model_that_is_not_linear_is_noticed_by_the_check():
    def curved(inputs):
        return affine(*random_victim())(inputs.square())

    strict, patient = (ToyOracle(curved, 100, DIGITS_SIZED) for _ in range(2))
    with pytest.raises(ExtractionInexact, match="not linear"):
        play(EquationSolving(strict=True), strict)
    assert strict.remaining == 100 - 65 - 10
    play(EquationSolving(), patient)
    assert patient.remaining == 0


def test_strict_says_how_the_answers_are_rounded():
    with pytest.raises(ExtractionInexact, match="2 decimals"):
        play(EquationSolving(strict=True), ToyOracle(rounded, 100, DIGITS_SIZED))


def test_strict_says_how_many_rows_it_takes():
    with pytest.raises(ExtractionInexact, match="it takes 65"):
        play(EquationSolving(strict=True), ToyOracle(affine(*random_victim()), 64, DIGITS_SIZED))
