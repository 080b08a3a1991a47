import itertools

import pytest
import torch
from torch import nn

from arena.attacks.retraining import Retraining, opposite_pairs, take_unit_inputs
from arena.contracts import BadParameter, Task
from arena.learning.architectures import build
from arena.learning.training import hardened, predict
from arena.match.clones import pack_clone, unpack_clone
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, digest, play

SHALLOW = Task(shape=(8,), classes=3)
WEIGHTS = 4 * (8 + 1) + 3 * (4 + 1)  # of 4 hidden units
QUICK = {"hidden": 3, "restarts": 1, "iterations": 20}


def shallow_victim(seed):
    """A random ReLU network of 4 hidden units that gives each class to at least 15 % of uniform inputs."""
    random = torch.Generator().manual_seed(seed)
    while True:
        first, middle, second, last = (torch.randn(*s, generator=random).double() for s in ((8, 4), (4,), (4, 3), (3,)))

        def victim(inputs, first=first, middle=middle, second=second, last=last):
            return (((2 * inputs.double() - 1) @ first + middle).relu() @ (2 * second) + last).softmax(dim=1).float()

        labels = victim(torch.rand(2000, 8, generator=random)).argmax(dim=1)
        if labels.bincount(minlength=3).min() >= 300:
            return victim


def agreement(attack, victim, released, *, budget):
    oracle = ToyOracle(lambda inputs: released(victim(inputs)), budget, SHALLOW)
    fresh = torch.rand(5000, 8, generator=torch.Generator().manual_seed(9))
    same = predict(play(attack, oracle), fresh).argmax(dim=1) == victim(fresh).argmax(dim=1)
    assert oracle.remaining == 0
    return float(same.float().mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_rows_for_each_weight_steal_a_shallow_network(seed):
    attack, victim = Retraining(policy="uniform", hidden=4, restarts=2, iterations=200), shallow_victim(seed)
    assert agreement(attack, victim, lambda rows: rows, budget=5 * WEIGHTS) >= 0.99


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_and_most_of_it_from_labels_alone(seed):
    attack, victim = Retraining(policy="uniform", hidden=4, restarts=2, iterations=200), shallow_victim(seed)
    assert agreement(attack, victim, hardened, budget=5 * WEIGHTS) >= 0.85


@pytest.mark.parametrize("policy", ["line-search", "adaptive"])
def test_the_other_policies_steal_it_too(policy):
    attack = Retraining(policy=policy, hidden=4, rounds=3, restarts=1, iterations=150)
    assert agreement(attack, shallow_victim(1), lambda rows: rows, budget=5 * WEIGHTS) >= 0.97


def test_pairs_have_different_labels_and_none_is_there_twice():
    labels = torch.randint(3, (200,), generator=torch.Generator().manual_seed(0))
    first, second = opposite_pairs(labels, 30, rng=torch.Generator().manual_seed(1))
    assert len(first) == 30
    assert not bool((labels[first] == labels[second]).any())
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == 30


def test_one_label_alone_makes_no_pairs():
    first, second = opposite_pairs(torch.zeros(20, dtype=torch.int64), 5, rng=torch.Generator().manual_seed(0))
    assert len(first) == len(second) == 0


def test_bisections_close_in_on_the_boundary():
    oracle = ToyOracle(VICTIMS["labels"], 120)
    play(Retraining(policy="line-search", **QUICK), oracle)
    assert [len(call) for call in oracle.calls] == [60, 10, 10, 10, 10, 10, 10]
    uniform = oracle.calls[0]
    steps = [(late - early).norm(dim=1) for early, late in itertools.pairwise(oracle.calls[1:])]
    for early, late in itertools.pairwise(steps):
        assert torch.allclose(late, early / 2, atol=1e-5)  # each middle lies half as far from the one before
    assert float(steps[-1].max()) < float((uniform[0] - uniform[1:]).norm(dim=1).mean()) / 16


def test_the_last_pairs_of_a_line_search_go_without_their_last_rows():
    oracle = ToyOracle(VICTIMS["labels"], 100)
    play(Retraining(policy="line-search", **QUICK), oracle)
    assert [len(call) for call in oracle.calls] == [50, 9, 9, 9, 9, 9, 5]


def test_adaptive_rounds_ask_where_the_clone_is_unsure():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 300)
    play(Retraining(policy="adaptive", hidden=6, restarts=1, iterations=60), oracle)
    assert [len(call) for call in oracle.calls] == [60] * 5
    first, *later = ((rows := answers.topk(2, dim=1).values)[:, 0] - rows[:, 1] for answers in oracle.answers)
    assert all(float(margin.mean()) < float(first.mean()) / 2 for margin in later[1:])


def test_scaling_the_inputs_is_folded_into_the_first_layer():
    network = build("mlp-5", TABLE, rng=torch.Generator().manual_seed(0)).double()
    inputs = torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = network(2 * inputs - 1)
    take_unit_inputs(network)
    assert torch.allclose(network(inputs), before)


def test_the_clone_is_twice_as_wide_and_travels():
    clone = play(Retraining(policy="uniform", **QUICK), ToyOracle(VICTIMS["softmax_victim"], 30))
    assert next(layer for layer in clone.modules() if isinstance(layer, nn.Linear)).out_features == 6
    assert digest(unpack_clone(pack_clone(clone), TABLE)) == digest(clone)


def test_needs_no_pool():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 30)
    play(Retraining(**QUICK), oracle, rows=0)
    assert oracle.remaining == 0


def test_no_hidden_unit_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="hidden"):
        Retraining(hidden=0)
