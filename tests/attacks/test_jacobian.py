import pytest
import torch

from arena.attacks.jacobian import JacobianAugmentation, jacobian_step, other_classes, targeted_steps
from arena.contracts import BadParameter, Spec
from arena.learning.architectures import build
from arena.learning.tensors import row_digests
from arena.registry import build_attack
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, play

FEW = {"steps": 5, "steps_inner": 5}


@pytest.fixture
def linear():
    return build("linear", TABLE, rng=torch.Generator().manual_seed(0)).eval()


def weights(clone):
    return next(module for module in clone.modules() if isinstance(module, torch.nn.Linear)).weight.detach()


def test_the_step_of_a_linear_clone_by_hand(linear):
    inputs, classes = torch.rand(9, 6, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 3
    stepped = jacobian_step(linear, inputs, classes, step=0.1, direction="gradient")
    assert torch.equal(stepped, (inputs + 0.1 * weights(linear)[classes].sign()).clamp(0, 1))


def test_a_step_up_the_loss_lowers_the_probability_and_one_down_raises_it(linear):
    inputs, classes = torch.full((3, 6), 0.5), torch.arange(3)

    def probability(rows):
        return linear(rows).softmax(dim=1).gather(1, classes.unsqueeze(1)).squeeze(1)

    up, down = (jacobian_step(linear, inputs, classes, step=step, direction="loss") for step in (0.1, -0.1))
    assert bool((probability(up) < probability(inputs)).all())
    assert bool((probability(down) > probability(inputs)).all())


@pytest.mark.parametrize(("name", "rises"), [("jbda-papernot", True), ("jbda", False)])
def test_the_papers_algorithm_climbs_the_victims_class_and_the_default_leaves_it(name, rises, linear):
    attack = build_attack(Spec(name=name))
    inputs, classes = torch.full((3, 6), 0.5), torch.arange(3)
    released = torch.nn.functional.one_hot(classes, 3).float()
    stepped = attack._stepped(linear, inputs, released, 0, rng=torch.Generator())
    before, after = (linear(rows).softmax(dim=1).gather(1, classes.unsqueeze(1)) for rows in (inputs, stepped))
    assert bool((after > before).all() if rises else (after < before).all())


def test_targeted_steps_stay_near_and_approach_their_target(linear):
    inputs, targets = torch.full((3, 6), 0.5), torch.tensor([1, 2, 0])
    moved = targeted_steps(linear, inputs, targets, step=0.1, inner_steps=8)
    assert float((moved - inputs).abs().max()) <= 0.1 + 1e-6
    target = targets.unsqueeze(1)
    assert bool((linear(moved).softmax(1).gather(1, target) > linear(inputs).softmax(1).gather(1, target)).all())


def test_the_other_class_is_never_the_class():
    classes = torch.arange(900) % 3
    others = other_classes(classes, 3, rng=torch.Generator().manual_seed(0))
    assert not bool((others == classes).any())
    assert others.bincount().min() > 250


@pytest.mark.parametrize("mode", ["jbda", "targeted-random"])
def test_asks_twice_as_much_each_round(mode):
    oracle = ToyOracle(VICTIMS["softmax_victim"], 1000)
    play(JacobianAugmentation(mode=mode, **FEW), oracle)
    assert [len(call) for call in oracle.calls] == [150, 150, 300, 400]


def test_asks_from_a_reservoir_after_the_doubling_rounds():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 200)
    play(JacobianAugmentation(seeds=20, doubling_rounds=1, reservoir=30, **FEW), oracle)
    assert [len(call) for call in oracle.calls] == [20, 20, 30, 30, 30, 30, 30, 10]


def test_the_seeds_are_pool_rows_and_the_rest_are_steps_from_rows_asked_before():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 60)
    play(JacobianAugmentation(seeds=30, **FEW), oracle)
    seeds, stepped = oracle.calls
    pool = set(row_digests(context().pool))
    assert set(row_digests(seeds)) <= pool
    distance = (stepped.unsqueeze(1) - seeds.unsqueeze(0)).abs().amax(dim=2).amin(dim=1)
    assert float(distance.max()) <= 0.1 + 1e-6


def test_a_step_that_leads_nowhere_new_is_replaced_by_a_pool_row():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 40)

    class Stuck(JacobianAugmentation):
        def _stepped(self, clone, inputs, released, number, *, rng):
            return inputs

    play(Stuck(seeds=20, **FEW), oracle)
    assert len(set(oracle.digests)) == 40
    assert set(oracle.digests) <= set(row_digests(context().pool))


def test_no_step_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="step"):
        JacobianAugmentation(step=0.0)
