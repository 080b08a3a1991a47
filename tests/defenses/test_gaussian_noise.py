import pytest
import torch

from arena.contracts import BadParameter, Spec
from arena.defenses.gaussian_noise import GaussianNoise, noisy_logits, towards_random_class
from arena.registry import build_defense
from tests.defenses.toy import LinearVictim, deployed, inputs

ROW, TO_SECOND = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[9.0, 1.0, 0.0]])


def test_the_vertex_by_hand():
    rows = towards_random_class(ROW, TO_SECOND, epsilon=0.2, preserve_argmax=False)
    assert torch.allclose(rows, torch.tensor([[0.63, 0.28, 0.09]]).double())


def test_the_vertex_stops_where_the_argmax_would_tie():
    rows = towards_random_class(ROW, TO_SECOND, epsilon=2.0, preserve_argmax=True)
    assert torch.allclose(rows, torch.tensor([[7, 7, 1]]).double() / 15, atol=1e-5)
    assert rows[0].argmax() == 0


def test_no_noise_on_the_logits_is_the_clean_row():
    assert torch.allclose(noisy_logits(ROW, TO_SECOND, sigma=0.0), ROW.double())


def test_logit_noise_by_hand():
    rows = noisy_logits(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]), sigma=2.0)
    assert torch.allclose(rows[0, 0], torch.tensor(2.0).double().sigmoid())


@pytest.mark.parametrize("kind", ["logit", "vertex"])
def test_fresh_noise_changes_and_keyed_noise_stays(kind):
    asked = inputs()
    fresh, keyed = (deployed(GaussianNoise(kind=kind, fresh=fresh)) for fresh in (True, False))
    assert not torch.equal(fresh(asked), fresh(asked))
    assert torch.equal(keyed(asked), keyed(asked))


def test_averaging_removes_fresh_noise_and_no_keyed_noise():
    asked, clean = inputs(), LinearVictim()(inputs()).log()

    def error(name, times):
        answer = deployed(build_defense(Spec(name=name)))
        rows = sum(answer(asked).log() for _ in range(times)) / times
        return float((rows.log_softmax(dim=1) - clean.log_softmax(dim=1)).abs().mean())

    assert error("gaussian-noise-fresh", 64) < error("gaussian-noise-fresh", 1) / 4
    assert error("gaussian-noise", 64) == pytest.approx(error("gaussian-noise", 1), rel=1e-5)


def test_another_match_has_another_key():
    asked = inputs()
    assert not torch.equal(deployed(GaussianNoise(), seed=0)(asked), deployed(GaussianNoise(), seed=1)(asked))


def test_a_negative_spread_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="sigma"):
        GaussianNoise(sigma=-1.0)
