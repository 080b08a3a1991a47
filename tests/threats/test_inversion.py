import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.learning.architectures import build
from arena.threats.inversion import ModelInversion, most_certain, total_variation
from arena.threats.resemblance import surest_queries
from tests.attacks.toy import ToyOracle
from tests.threats.toy import threat_context

TASK = Task(shape=(1, 4, 4), classes=2)


def clone():
    """Class 1 where the left half is brighter than the right one."""
    network = build("linear", TASK, rng=torch.Generator().manual_seed(0)).eval()
    layer = next(module for module in network.modules() if isinstance(module, torch.nn.Linear))
    left = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([-left, left]))
        layer.bias.zero_()
    return network


def halves():
    left = torch.tensor([1.0, 1.0, 0.0, 0.0]).repeat(4).reshape(1, 4, 4)
    return torch.stack([1 - left, left]), torch.tensor([0, 1])


def judged(found):
    return {name: found.counts[name] for name in ("victim", "judge", "nearest")}


def answered(rows):
    return clone()(rows).detach().softmax(dim=1)


def test_recovers_the_halves_that_a_linear_clone_tells_apart():
    inputs, labels = halves()
    oracle = ToyOracle(answered, 10, TASK)
    context = threat_context(inputs, labels, pool=torch.full((3, 1, 4, 4), 0.5), judge=answered)
    found = ModelInversion(noise=0.05).assess(clone(), oracle, context, rng=torch.Generator().manual_seed(0))
    assert judged(found) == {"victim": (2, 2), "judge": (2, 2), "nearest": (2, 2)}
    assert oracle.remaining == 8
    assert found.measures["correlation"] > 0.9 > -0.9 > found.measures["correlation_others"]
    assert found.grid is not None
    assert found.grid.shape == (2, 2, 1, 4, 4)
    assert torch.equal(found.grid[1], inputs)


def test_an_image_that_only_the_victim_believes_in_is_not_counted_by_the_others():
    inputs, labels = halves()
    wrong = threat_context(inputs, 1 - labels, judge=lambda rows: answered(rows).flip(1))  # what the classes really are
    found = ModelInversion().assess(clone(), ToyOracle(answered, 2, TASK), wrong, rng=torch.Generator().manual_seed(0))
    assert judged(found) == {"victim": (2, 2), "judge": (0, 2), "nearest": (0, 2)}


def test_controls_are_counted_beside_it():
    inputs, labels = halves()
    bought = inputs[[0, 0, 1]], torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    context = threat_context(inputs, labels, bought=bought, judge=answered)
    threat = ModelInversion(steps=5, starts=1)
    found = threat.assess(clone(), ToyOracle(answered, 2, TASK), context, rng=torch.Generator().manual_seed(0))
    assert found.counts["echo/judge"] == found.counts["echo/nearest"] == (2, 2)
    assert found.counts["judge_accuracy"] == (2, 2)
    assert found.counts["untrained/judge"].total == 2


def test_an_untrained_clone_does_not_know_which_half_is_which():
    inputs, labels = halves()
    context, threat = threat_context(inputs, labels, judge=answered), ModelInversion(steps=20, starts=1)
    hits = {"judge": 0, "untrained/judge": 0}
    for seed in range(8):
        found = threat.assess(clone(), ToyOracle(answered, 2, TASK), context, rng=torch.Generator().manual_seed(seed))
        hits = {name: hits[name] + found.counts[name].hits for name in hits}
    assert hits["judge"] == 16
    assert hits["untrained/judge"] < 14


def test_nothing_bought_has_no_echo():
    inputs, labels = halves()
    context = threat_context(inputs, labels, bought=(inputs[:0], torch.zeros(0, 2)))
    threat = ModelInversion(steps=1, starts=1)
    found = threat.assess(clone(), ToyOracle(answered, 2, TASK), context, rng=torch.Generator().manual_seed(0))
    assert found.counts["echo/judge"] == found.counts["echo/nearest"] == (0, 0)


def test_the_surest_queries_rows_are_those_with_the_largest_released_score():
    rows = torch.arange(5.0).reshape(5, 1)
    released = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.0, 0.0], [0.7, 0.3], [0.4, 0.6]])
    images, classes = surest_queries(rows, released, rows=2)
    assert images.flatten().tolist() == [1, 3, 4]
    assert classes.tolist() == [0, 0, 1]


def test_ends_with_the_start_when_there_is_no_time():
    inputs, labels = halves()
    context = threat_context(inputs, labels, pool=torch.full((3, 1, 4, 4), 0.5), seconds=0.0)
    threat = ModelInversion(noise=0.0, starts=1)
    found = threat.assess(clone(), ToyOracle(answered, 2, TASK), context, rng=torch.Generator().manual_seed(0))
    assert found.grid is not None
    assert torch.equal(found.grid[0], torch.full((2, 1, 4, 4), 0.5))


def test_the_surest_of_each_class_is_kept():
    inputs, _ = halves()
    images = torch.cat([inputs[1:], inputs[:1], inputs[:1] * 0.5 + 0.25, inputs[1:]])  # two starts of each class
    assert torch.equal(most_certain(clone(), images, 2), inputs)


def test_total_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert float(total_variation(image)) == 0.5 + 0.5 + 1.0
    assert float(total_variation(torch.rand(3, 5))) == 0.0


def test_no_start_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="starts"):
        ModelInversion(starts=0)
