import pytest
import torch

from arena.attacks.noise_inversion import estimated, restored
from arena.contracts import BadParameter
from arena.defenses.noise_matrix import NoiseMatrix, after_a_step, label_margin, targets, without_diagonal
from arena.defenses.rounding import Rounding
from tests.defenses.toy import LinearVictim, context, deployed, inputs


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_pair_moves_its_share_to_the_next_class_by_hand():
    matrix = 0.6 * torch.eye(3) + 0.4 * targets("pair", 3)
    assert torch.allclose(matrix, torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.6, 0.4], [0.4, 0.0, 0.6]]))
    assert torch.allclose(torch.tensor([0.7, 0.2, 0.1]) @ matrix, torch.tensor([0.46, 0.40, 0.14]))


def test_symmetric_noise_goes_to_all_others_alike():
    assert targets("symmetric", 5).tolist() == (0.25 * (1 - torch.eye(5))).tolist()


def test_the_released_rows_are_the_clean_ones_times_the_matrix():
    asked = inputs()
    clean = LinearVictim()(asked)
    matrix = 0.7 * torch.eye(6) + 0.3 * targets("pair", 6)
    released = deployed(NoiseMatrix(share=0.3, keep=False))(asked)
    assert torch.allclose(released, clean @ matrix, atol=1e-6)


def test_a_row_whose_argmax_would_move_keeps_it_if_asked_to():
    asked = inputs(400)
    victim = LinearVictim(scale=1.0)  # unsure, so that the matrix moves many decisions
    clean = victim(asked).argmax(dim=1)
    moved = deployed(NoiseMatrix(keep=False), victim=victim)(asked).argmax(dim=1)
    kept = deployed(NoiseMatrix(keep=True), victim=victim)(asked).argmax(dim=1)
    assert float((moved != clean).float().mean()) > 0.05
    assert torch.equal(kept, clean)


def test_no_share_is_no_defense():
    assert torch.allclose(deployed(NoiseMatrix(share=0.0))(inputs()), LinearVictim()(inputs()), atol=1e-6)


def test_the_inverse_undoes_it():
    victim, asked = LinearVictim(scale=60.0), inputs(400)
    released = deployed(NoiseMatrix(keep=False), victim=victim)(asked)
    found = restored(released, estimated(released, confident=3))
    assert float((found - victim(asked)).abs().sum(dim=1).mean()) < 0.05


def test_what_it_learned_moves_exactly_its_share_and_keeps_the_rest():
    defense = NoiseMatrix(kind="learned", share=0.3, steps=5)
    matrix = defense.train(context(), rng=rng())["matrix"]
    assert torch.allclose(matrix.diagonal(), torch.full((6,), 0.7), atol=1e-6)
    assert torch.allclose(matrix.sum(dim=1), torch.ones(6), atol=1e-6)
    assert not torch.allclose(matrix, 0.7 * torch.eye(6) + 0.3 * targets("symmetric", 6), atol=1e-3)


def test_the_same_seed_learns_the_same_matrix():
    defense = NoiseMatrix(kind="learned", steps=3)
    one, other = (defense.train(context(), rng=rng(4))["matrix"] for _ in range(2))
    assert torch.equal(one, other)


def test_the_step_that_is_simulated_is_the_one_that_descent_takes():
    network, x = torch.nn.Linear(5, 3), inputs(8)
    labels = torch.eye(3)[torch.arange(8) % 3]
    foreseen = after_a_step(network, x, labels, x, rate=0.5)
    torch.nn.functional.cross_entropy(network(x), labels).backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()
    assert torch.allclose(foreseen, network(x), atol=1e-6)


def test_harm_is_the_margin_of_the_other_classes_by_hand():
    assert float(label_margin(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([0]))) == pytest.approx(1.6931, abs=1e-4)


def test_nothing_stays_where_a_share_must_leave():
    rows = without_diagonal(torch.zeros(4, 4))
    assert rows.diagonal().tolist() == [0.0] * 4
    assert torch.allclose(rows.sum(dim=1), torch.ones(4))


def test_its_promise_is_the_argmax_or_a_distance():
    assert NoiseMatrix().promise.argmax
    assert NoiseMatrix(keep=False, share=0.2).promise.l1 == pytest.approx(0.4)
    assert NoiseMatrix(base=Rounding()).promise.l1 is None


@pytest.mark.parametrize("fields", [{"share": 1.0}, {"share": -0.1}, {"steps": 0}, {"rate": 0.0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(BadParameter, match="must"):
        NoiseMatrix(**fields)
