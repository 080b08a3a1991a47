import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.sharpening import Sharpening, by_rank, standardised
from arena.contracts import BadParameter, Spec
from arena.registry import build_attack
from tests.attacks.toy import VICTIMS, ToyOracle, digest, play


def test_ranks_by_hand():
    rows = by_rank(torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), decay=0.5)
    sevenths = torch.tensor([[1, 4, 2], [4, 2, 1]]) / 7
    assert torch.allclose(rows, sevenths)


def test_standardised_logits_by_hand():
    # log-odds of -1, 0, 1 have deviation sqrt(2/3): three times the z-scores are -3.674, 0, 3.674.
    rows = standardised(torch.tensor([[-1.0, 0.0, 1.0]]).softmax(dim=1), scale=3.0)
    assert rows[0].tolist() == pytest.approx([6.267e-4, 0.02471, 0.97466], rel=1e-3)


def test_standardising_undoes_any_temperature():
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    cool, hot = (standardised((logits / heat).softmax(dim=1), scale=3.0) for heat in (1.0, 10.0))
    assert torch.allclose(cool, hot, atol=1e-4)


@pytest.mark.parametrize("sharpened", [lambda rows: by_rank(rows, decay=0.7), lambda rows: standardised(rows, scale=3)])
def test_the_argmax_stays_and_rows_sum_to_one(sharpened):
    for rows in (
        VICTIMS["softmax_victim"](torch.rand(50, 6, generator=torch.Generator().manual_seed(0))),
        torch.eye(4),
        torch.full((2, 5), 0.2),
    ):
        found = sharpened(rows)
        assert torch.equal(found.argmax(dim=1), rows.argmax(dim=1))
        assert torch.allclose(found.sum(dim=1), torch.ones(len(rows)))


def test_flattened_rows_of_the_same_order_give_the_same_clone():
    def flattened(inputs):
        rows = VICTIMS["softmax_victim"](inputs)
        return (rows + 9 / rows.shape[1]) / 10

    attack = Sharpening(base=KnockoffNets(steps=20))
    clean, flat = (digest(play(attack, ToyOracle(v, 60))) for v in (VICTIMS["softmax_victim"], flattened))
    assert clean == flat


def test_the_two_names_keep_ranks_and_logits():
    base = Spec(name="knockoff")
    kept = [
        build_attack(Spec(name=name, params=(("base", base),))).kept
        for name in ("rank-sharpening", "standardised-logits")
    ]
    assert kept == ["ranks", "logits"]


def test_a_decay_of_one_has_no_ranks():
    with pytest.raises(BadParameter, match="decay"):
        Sharpening(base=KnockoffNets(), decay=1.0)
