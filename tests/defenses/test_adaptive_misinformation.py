from dataclasses import replace

import pytest
import torch

from arena.contracts import BadParameter, QueryBatch
from arena.defenses.adaptive_misinformation import (
    AdaptiveMisinformation,
    misleading_weights,
    misled,
    uniform_cross_entropy,
    wrong_answer_loss,
)
from arena.defenses.rounding import Rounding
from tests.defenses.toy import LinearVictim, context, deployed, inputs


def trained(defense, here=None):
    here = here or context()
    return here, defense.train(here, rng=torch.Generator().manual_seed(0))


def answers(defense, here, state, asked):
    return defense.deploy(here, state, rng=torch.Generator())(QueryBatch(inputs=asked)).posteriors


@pytest.mark.parametrize(("largest", "weight"), [(0.9, 0.017986), (0.5, 0.5), (0.4, 0.731059)])
def test_the_weight_of_misinformation_by_hand(largest, weight):
    found = misleading_weights(torch.tensor([[largest, 0.0, 0.0]]), tau=0.5, nu=10.0)
    assert float(found) == pytest.approx(weight, abs=1e-6)


def test_a_misled_row_by_hand():
    y, wrong = torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[0.1, 0.2, 0.7]])
    weights = misleading_weights(y, tau=0.5, nu=10.0)
    assert float(weights) == pytest.approx(0.268941, abs=1e-6)
    assert torch.allclose(misled(y, wrong, weights), torch.tensor([[0.4655, 0.2731, 0.2614]]).double(), atol=5e-5)


def test_losses_by_hand():
    logits = torch.tensor([[0.9, 0.06, 0.04]]).log()
    assert float(wrong_answer_loss(logits, torch.tensor([0]))) == pytest.approx(2.302585, abs=1e-5)
    assert float(uniform_cross_entropy(logits)) == pytest.approx(2.045882, abs=1e-5)
    assert float(uniform_cross_entropy(torch.zeros(1, 3))) == pytest.approx(1.098612, abs=1e-5)


def test_a_certain_answer_has_a_finite_loss_and_gradient():
    logits = torch.tensor([[80.0, 0.0, 0.0]], requires_grad=True)
    loss = wrong_answer_loss(logits, torch.tensor([0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(80 - 0.693147, abs=1e-4)
    assert bool(logits.grad.isfinite().all())


def stated(defense, here, state):
    """The facts that the deployed defense states."""
    facts = {}
    defense.deploy(replace(here, note=facts.__setitem__), state, rng=torch.Generator())
    return facts


def test_about_the_cost_of_new_benign_rows_is_misled_and_the_result_says_how_many():
    defense = AdaptiveMisinformation(cost=0.1, nu=1e6, steps=200)
    rows = inputs(2_000, seed=40)
    here, state = trained(defense, replace(context(), validation=(rows, LinearVictim()(rows).argmax(dim=1))))
    changed = answers(defense, here, state, rows) - answers(at(0.0), here, state, rows)
    misled_rows = float((changed.abs().amax(dim=1) > 1e-6).float().mean())
    facts = stated(defense, here, state)
    assert facts["calibration_rows"] == len(here.training[0]) == 60
    assert facts["benign_rows_misled"] == pytest.approx(misled_rows, abs=0.002)
    assert misled_rows == pytest.approx(0.1, abs=0.09)  # two standard deviations of the 6th lowest of 60


def test_training_rows_are_judged_by_networks_that_have_not_learnt_them():
    """Where labels are pure chance, a network is certain of what it has learnt by heart and of nothing else."""
    few = replace(context(), training=(inputs(40, seed=11), torch.randint(6, (40,), generator=torch.Generator())))
    here, state = trained(AdaptiveMisinformation(steps=400, folds=4), few)
    learnt = answers(at(0.0), here, state, here.training[0]).amax(dim=1)
    assert len(state["calibration"]) == 40
    assert float(state["calibration"].min()) < float(learnt.min())


def test_without_outliers_the_validation_rows_calibrate():
    here, state = trained(AdaptiveMisinformation(cost=0.1, steps=3), replace(context(), outliers=None))
    facts = stated(AdaptiveMisinformation(cost=0.1), here, state)
    assert facts["calibration_rows"] == len(here.validation[0])
    assert facts["benign_rows_misled"] <= 0.1
    assert "calibration_rows" not in stated(AdaptiveMisinformation(tau=0.5), here, state)


def at(tau):
    return AdaptiveMisinformation(tau=tau, nu=1e6, steps=30)


def test_no_threshold_is_the_answering_network_and_the_highest_the_misinformation():
    plain = AdaptiveMisinformation(tau=0.0, expose=False, steps=3)
    asked = inputs()
    assert torch.allclose(deployed(plain)(asked), LinearVictim()(asked), atol=1e-6)
    here, state = trained(AdaptiveMisinformation(steps=3))
    honest, wrong = (answers(at(tau), here, state, asked) for tau in (0.0, 1.0))
    assert not torch.allclose(honest, wrong, atol=1e-2)


def test_misinformation_is_wrong_and_exposure_makes_outliers_uncertain():
    defense = AdaptiveMisinformation(steps=200)
    here, state = trained(defense)
    asked, labels = here.training
    wrong = answers(at(1.0), here, state, asked)
    assert float((wrong.argmax(dim=1) == labels).float().mean()) < 0.05
    honest = at(0.0)
    assert float(answers(honest, here, state, asked).amax(dim=1).mean()) > 0.55
    assert float(answers(honest, here, state, here.outliers).amax(dim=1).mean()) < 0.3  # 1 / 6 at least


def test_without_outliers_the_plain_victim_answers():
    here = replace(context(), outliers=None)
    defense = AdaptiveMisinformation(tau=0.0, steps=3)
    _, state = trained(defense, here)
    assert not any(name.startswith("exposed/") for name in state)
    assert torch.allclose(answers(defense, here, state, inputs()), LinearVictim()(inputs()), atol=1e-6)


def test_the_victim_is_replaced_only_where_it_is_exposed():
    assert AdaptiveMisinformation().replaces_victim
    assert not AdaptiveMisinformation(expose=False).replaces_victim
    assert Rounding(base=AdaptiveMisinformation()).replaces_victim


def test_what_acts_in_replies_alone_trains_nothing_new():
    assert not AdaptiveMisinformation.trained_by & {"tau", "cost", "nu"}
    one, other = (trained(AdaptiveMisinformation(steps=3, cost=cost))[1] for cost in (0.0, 0.5))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_rows_to_calibrate_on_tau_must_be_given():
    nothing = inputs(0), torch.empty(0).long()
    here, state = trained(AdaptiveMisinformation(steps=3), replace(context(), validation=nothing))
    AdaptiveMisinformation(steps=3).deploy(here, state, rng=torch.Generator())  # calibrated on the training rows
    here, state = trained(AdaptiveMisinformation(steps=3), replace(context(), validation=nothing, outliers=None))
    with pytest.raises(BadParameter, match="set it"):
        AdaptiveMisinformation(steps=3).deploy(here, state, rng=torch.Generator())
    AdaptiveMisinformation(tau=0.5, steps=3).deploy(here, state, rng=torch.Generator())


@pytest.mark.parametrize(
    "fields", [{"tau": 1.5}, {"cost": 1.0}, {"nu": 0.0}, {"exposure": -1.0}, {"folds": 1}, {"steps": 0}]
)
def test_values_that_make_no_sense_are_bad_parameters(fields):
    with pytest.raises(BadParameter, match=next(iter(fields))):
        AdaptiveMisinformation(**fields)
