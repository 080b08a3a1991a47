import pytest
import torch

from arena.attacks.jacobian import JacobianAugmentation
from arena.attacks.knockoff import KnockoffNets
from arena.attacks.noise_inversion import NoiseInversion, estimated, restored
from arena.contracts import BadParameter
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, digest, play

MATRIX = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.6, 0.4], [0.4, 0.0, 0.6]])


def confident(inputs):
    """The soft victim, whose answers are nearly one-hot."""
    return (9 * VICTIMS["softmax_victim"](inputs).log()).softmax(dim=1)


def test_solving_gives_the_posteriors_back_by_hand():
    assert restored(torch.tensor([[0.46, 0.40, 0.14]]), MATRIX)[0].tolist() == pytest.approx([0.7, 0.2, 0.1], abs=1e-6)


def test_the_matrix_is_read_off_confident_answers():
    rows = torch.eye(3)[[0, 1, 1, 2]] @ MATRIX
    assert torch.allclose(estimated(rows, confident=1), MATRIX)


def test_the_most_confident_answers_of_a_class_are_averaged():
    rows = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]])
    assert estimated(rows, confident=2).tolist() == [pytest.approx([0.8, 0.2]), [0.0, 1.0]]


def test_a_class_that_never_came_is_left_alone():
    assert estimated(torch.tensor([[0.6, 0.4, 0.0]]), confident=3)[1:].tolist() == torch.eye(3)[1:].tolist()


def test_refused_rows_and_rows_without_a_positive_value_stay_as_they_are():
    released = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert torch.equal(restored(released, -torch.eye(3)), released)


def test_a_single_answer_and_a_singular_matrix_are_no_trouble():
    rows = restored(torch.tensor([[0.5, 0.25, 0.25]]), torch.full((3, 3), 1 / 3))
    assert float(rows.sum()) == pytest.approx(1)
    assert bool((rows >= 0).all())


def test_against_a_pair_matrix_the_base_gets_nearly_what_an_undefended_victim_says():
    oracle = ToyOracle(lambda inputs: confident(inputs) @ MATRIX, 90, TABLE)
    play(NoiseInversion(base=KnockoffNets(steps=5)), oracle)
    released, inputs = torch.cat(oracle.answers), torch.cat(oracle.calls)
    matrix = estimated(released, confident=3)
    assert float((matrix - MATRIX).abs().sum(dim=1).max()) < 0.05
    assert float((restored(released, matrix) - confident(inputs)).abs().sum(dim=1).mean()) < 0.05


def test_a_base_in_rounds_is_told_restored_rows_in_every_round():
    base = JacobianAugmentation(steps=5, steps_inner=5, seeds=20)
    noisy = ToyOracle(lambda inputs: confident(inputs) @ MATRIX, 80, TABLE)
    plain = ToyOracle(lambda inputs: confident(inputs) @ MATRIX, 80, TABLE)
    assert digest(play(NoiseInversion(base=base), noisy)) != digest(play(base, plain))
    assert noisy.remaining == 0
    assert len(noisy.calls) > 1


def test_at_least_one_answer_is_averaged():
    with pytest.raises(BadParameter, match="at least 1"):
        NoiseInversion(base=KnockoffNets(), confident=0)
