from dataclasses import replace

import pytest
import torch
from torch import nn

from arena.contracts import BadParameter, NeedUnmet, Task
from arena.defenses.parts.defender_networks import network_like_victim, restored, stored, surrogate_of
from arena.learning.architectures import architecture_of, build
from arena.learning.normalisation import Normalised
from tests.defenses.toy import LinearVictim, context

IMAGES = Task(shape=(1, 8, 8), classes=4)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_architecture_is_that_of_the_network_inside():
    inside = build("medium-cnn", IMAGES, rng=rng())
    assert architecture_of(inside, IMAGES) == "medium-cnn"
    assert architecture_of(Normalised(inside, (0.5,), (0.2,)), IMAGES) == "medium-cnn"


@pytest.mark.parametrize("module", [None, nn.Linear(64, 4)], ids=["answers alone", "unknown"])
def test_a_victim_of_an_unknown_network_is_stood_for_by_auto(module):
    assert architecture_of(module, IMAGES) == "small-cnn"
    assert network_like_victim(context(LinearVictim(module=module)), rng=rng()).architecture == "mlp"


def test_a_network_comes_back_from_a_state_with_others():
    here = context()
    one, other = (network_like_victim(here, rng=rng(seed)) for seed in (1, 2))
    state = {**stored(one, "one"), **stored(other, "other")}
    for network, name in ((one, "one"), (other, "other")):
        back = restored(state, name, here)
        assert not back.training
        assert not any(parameter.requires_grad for parameter in back.parameters())
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), back.parameters(), strict=True))


def test_a_surrogate_that_is_not_there_or_does_not_fit_is_named():
    with pytest.raises(NeedUnmet, match="mad needs a surrogate"):
        surrogate_of(replace(context(), surrogate=None), "mad")
    foreign = build("mlp", Task(shape=(5,), classes=3), rng=rng())
    with pytest.raises(BadParameter, match="mad: the surrogate returns 3 numbers per row, not 6"):
        surrogate_of(replace(context(), surrogate=foreign), "mad")
