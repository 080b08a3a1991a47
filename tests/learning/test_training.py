import torch

from arena.contracts import Task
from arena.learning.architectures import build
from arena.learning.training import counted_steps, cut_short, descent, fit, one_hot, padded_forward, soft_cross_entropy

TASK = Task(shape=(5,), classes=3)


def data(rows=40):
    random = torch.Generator().manual_seed(0)
    return torch.rand(rows, 5, generator=random), one_hot(torch.randint(3, (rows,), generator=random), 3)


def network():
    return build("mlp", TASK, rng=torch.Generator().manual_seed(1))


def test_descent_by_the_soft_cross_entropy_is_fit():
    inputs, targets = data()
    fitted, stepped = network(), network()
    fit(fitted, inputs, targets, steps=7, rng=torch.Generator().manual_seed(2))

    def backward(chosen):
        soft_cross_entropy(stepped(inputs[chosen]), targets[chosen]).backward()

    done = []
    for step in descent(stepped, backward, rows=len(inputs), steps=7, rng=torch.Generator().manual_seed(2)):
        done.append(step)
        assert stepped.training
    assert done == [1, 2, 3, 4, 5, 6, 7]
    assert not stepped.training
    assert all(torch.equal(*pair) for pair in zip(fitted.parameters(), stepped.parameters(), strict=True))


def test_a_part_of_a_call_padded_to_one_size_gets_the_same_bits_in_any_part():
    model, (inputs, _) = network().eval(), data(100)
    whole = padded_forward(model, inputs, size=64)
    assert torch.equal(padded_forward(model, inputs[70:90], size=64), whole[70:90])


def test_steps_are_counted_in_a_context_and_those_inside_it():
    inputs, targets = data()
    with counted_steps() as outer:
        fit(network(), inputs, targets, steps=3, rng=torch.Generator())
        with counted_steps() as inner:
            fit(network(), inputs, targets, steps=2, rng=torch.Generator())
    fit(network(), inputs, targets, steps=5, rng=torch.Generator())
    assert (outer.taken, inner.taken) == (5, 2)


def test_a_training_that_is_cut_short_says_what_the_rest_would_take():
    rng = torch.Generator().manual_seed(0)
    inputs, targets = torch.rand(20, 4, generator=rng), torch.full((20, 3), 1 / 3)
    network = torch.nn.Linear(4, 3)
    with cut_short(timed=5) as short, counted_steps() as steps:
        fit(network, inputs, targets, steps=1_000, rng=rng)
        assert (steps.taken, short.steps) == (8, 992)
        assert short.seconds > 0
        fit(network, inputs, targets, steps=8, rng=rng)  # short enough already
        assert (steps.taken, short.steps) == (16, 992)
    assert not network.training
    with counted_steps() as steps:
        fit(network, inputs, targets, steps=50, rng=rng)
    assert steps.taken == 50
