from dataclasses import replace

import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.logit_subspace import LogitSubspace, Subspace, log_ratios, projected, spectrum
from arena.contracts import BadParameter, Task
from tests.attacks.toy import VICTIMS, ToyOracle, context, digest, play

COLUMNS, WIDTH, CLASSES = 8, 5, 20
WIDE = Task(shape=(COLUMNS,), classes=CLASSES)


def logits(inputs):
    """A network with 5 features and 20 classes."""
    rng = torch.Generator().manual_seed(2)
    first, last = (torch.randn(*shape, generator=rng) for shape in ((COLUMNS, WIDTH), (WIDTH, CLASSES)))
    return torch.tanh((inputs.flatten(1) - 0.5) @ first) @ last + torch.linspace(-1, 1, CLASSES)


def soft(inputs):
    return logits(inputs).softmax(dim=1)


def rows(number, *, seed=0):
    return torch.rand(number, COLUMNS, generator=torch.Generator().manual_seed(seed))


def noted(victim, *, budget=400, task=WIDE):
    facts = {}
    terms = replace(context(task), note=facts.__setitem__)
    oracle = ToyOracle(victim, budget, task)
    LogitSubspace(base=KnockoffNets(steps=5)).extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    assert oracle.remaining == 0
    return facts


class TestTheSpectrum:
    @pytest.mark.parametrize("number", [WIDTH + 2, 2 * WIDTH, 60])
    def test_shows_the_width_exactly(self, number):
        space, gap = spectrum(soft(rows(number)))
        assert space.width == WIDTH
        assert gap > 100

    def test_spans_the_columns_of_the_last_layer(self):
        space, _ = spectrum(soft(rows(2 * WIDTH)))
        centred = log_ratios(soft(rows(50, seed=1))) - space.mean
        left = centred - centred @ space.directions @ space.directions.T
        assert float(left.norm() / centred.norm()) < 1e-3

    def test_shows_nothing_where_answers_are_rounded(self):
        rounded = soft(rows(60)).round(decimals=2).clamp(min=1e-6)
        assert spectrum(rounded)[0] is None

    def test_leaves_out_rows_that_float32_has_cut(self):
        cut = soft(rows(40))
        cut[::2, 3] = 0.0
        space, _ = spectrum(cut)
        assert space.width == WIDTH

    def test_of_no_row_shows_nothing(self):
        assert spectrum(torch.zeros(5, CLASSES))[0] is None


class TestAProjection:
    def test_leaves_rows_of_the_victim_as_they_are(self):
        space, _ = spectrum(soft(rows(60)))
        assert torch.allclose(projected(soft(rows(30, seed=1)), space), soft(rows(30, seed=1)), atol=1e-5)

    def test_completes_rows_of_which_only_the_largest_values_are_released(self):
        space, _ = spectrum(soft(rows(60)))
        whole = soft(rows(30, seed=1))
        least = whole.topk(WIDTH + 3, dim=1).values[:, -1:]
        cut = torch.where(whole >= least, whole, 0)
        cut = cut / cut.sum(dim=1, keepdim=True)
        assert float((cut - whole).abs().sum(dim=1).mean()) > 0.05
        assert float((projected(cut, space) - whole).abs().sum(dim=1).max()) < 1e-3

    def test_takes_noise_out_of_the_logits(self):
        space, _ = spectrum(soft(rows(60)))
        clean = logits(rows(300, seed=1))
        noisy = clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
        before, after = noisy.softmax(dim=1), projected(noisy.softmax(dim=1), space)
        wrong = [
            (log_ratios(found) - log_ratios(soft(rows(300, seed=1)))).square().mean().sqrt()
            for found in (before, after)
        ]
        assert float(wrong[1] / wrong[0]) == pytest.approx((WIDTH / CLASSES) ** 0.5, abs=0.08)

    def test_leaves_refused_rows_and_rows_with_too_few_values(self):
        space = Subspace(mean=torch.zeros(4).double(), directions=torch.eye(4).double()[:, :2])
        few = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
        assert torch.equal(projected(few, space), few)


def test_the_width_is_noted_and_the_budget_spent():
    assert noted(soft)["width"] == WIDTH


def test_more_features_than_classes_have_no_space_and_the_base_plays_unchanged():
    assert noted(VICTIMS["softmax_victim"], task=Task(shape=(6,), classes=3))["width"] == 0


def test_a_budget_without_a_probe_goes_to_the_base():
    base = KnockoffNets(steps=5)
    clones = [play(one, ToyOracle(soft, 20, WIDE)) for one in (base, LogitSubspace(base=base))]
    assert digest(clones[0]) == digest(clones[1])


def test_noisy_answers_teach_more_when_they_are_projected():
    def noisy(inputs):
        rng = torch.Generator().manual_seed(int(1e6 * float(inputs.sum())))
        return (logits(inputs) + 0.5 * torch.randn(len(inputs), CLASSES, generator=rng)).softmax(dim=1)

    space, _ = spectrum(soft(rows(60)))
    seen = noisy(rows(300))
    agreed = [
        float((found.argmax(dim=1) == soft(rows(300)).argmax(dim=1)).float().mean())
        for found in (seen, projected(seen, space))
    ]
    assert agreed[1] > agreed[0] + 0.05


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_cannot_be_is_refused(share):
    with pytest.raises(BadParameter, match="share"):
        LogitSubspace(base=KnockoffNets(), share=share)
