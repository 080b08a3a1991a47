import pytest
import torch

from arena.contracts import Answer, BadParameter, Promise, QueryBatch, Task
from arena.defenses.diverse_ensemble import DiverseEnsemble
from arena.defenses.gaussian_noise import GaussianNoise
from arena.defenses.hoda import Hoda
from arena.defenses.label_only import LabelOnly
from arena.defenses.prada import Prada
from arena.defenses.prediction_poisoning import PredictionPoisoning
from arena.defenses.rounding import Rounding
from arena.defenses.top_k import TopK
from arena.learning.composition import chained, transformed
from tests.defenses.toy import LinearVictim, context, deployed, inputs


def test_distances_add_up_and_a_promise_holds_only_if_both_make_it():
    first = Promise(argmax=True, l1=0.5, noise="keyed")
    assert chained(first, Promise(argmax=True, l1=0.25)) == Promise(argmax=True, l1=0.75, noise="keyed")
    assert chained(first, Promise(argmax=False, l1=None, noise="fresh", stateful=True)) == Promise(
        noise="fresh", stateful=True
    )


def test_what_the_base_needs_wants_and_refuses_holds_for_the_whole():
    inner = TopK(k=3)
    object.__setattr__(inner, "optional_needs", frozenset({"outliers"}))
    outer = Rounding(base=inner)
    assert outer.optional_needs == {"outliers"}
    outer.check(Task(shape=(5,), classes=3))
    with pytest.raises(BadParameter, match="2 classes"):
        outer.check(Task(shape=(5,), classes=2))


def test_the_outer_defense_acts_on_what_the_inner_one_released():
    clean = LinearVictim()(inputs())
    rows = deployed(Rounding(decimals=1, base=TopK(k=2)))(inputs())
    inner = deployed(TopK(k=2))(inputs())
    units = (inner.double() * 10).round()
    assert int((rows > 0).sum(dim=1).max()) <= 2
    unique = units.sort(dim=1, descending=True).values
    told = unique[:, 0] > unique[:, 1]  # elsewhere the top gets one unit more
    assert torch.allclose(rows[told].double(), (units / units.sum(dim=1, keepdim=True))[told], atol=1e-6)
    assert torch.equal(rows.argmax(dim=1), clean.argmax(dim=1))


def test_labels_of_poisoned_rows_are_labels():
    defense = LabelOnly(base=PredictionPoisoning(epsilon=1.0, argmax=True))
    assert torch.equal(deployed(defense)(inputs()), deployed(LabelOnly())(inputs()))
    assert defense.needs == {"surrogate"}
    assert defense.promise == Promise(argmax=True)


def test_trained_defenses_on_top_of_one_another_keep_their_states_apart():
    inner = DiverseEnsemble(members=2, steps=3)
    outer = Hoda(snapshots=2, sequences=10, steps=3, action="log", base=Prada(action="log", base=inner))
    state = outer.train(context(), rng=torch.Generator().manual_seed(0))
    assert {name.rpartition("/")[0] for name in state} > {"base/base/member-0", "base/base/member-1", "snapshot-0"}
    assert torch.equal(deployed(outer)(inputs()).sum(dim=1).round(), torch.ones(60))
    assert outer.optional_needs == {"outliers"}
    assert outer.replaces_victim
    assert outer.promise == Promise(stateful=True, noise="keyed")
    assert outer.detection_delay == Prada().detection_delay > Hoda().detection_delay


@pytest.mark.parametrize("outer", [Rounding(), TopK(k=2), LabelOnly(), GaussianNoise()])
def test_a_refused_row_stays_refused_and_the_others_are_transformed(outer):
    rows = torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.0, 0.0]])
    below = lambda queries: Answer(posteriors=rows, refused=torch.tensor([False, True]))  # noqa: E731
    answer = transformed(below, lambda clean, _: clean.flip(1))(QueryBatch(inputs=torch.zeros(2, 5)))
    assert torch.equal(answer.posteriors, torch.tensor([[0.1, 0.3, 0.6], [0.0, 0.0, 0.0]]))
    assert answer.refused.tolist() == [False, True]
