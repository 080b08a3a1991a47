import pytest
import torch

from arena.attacks.activethief import ActiveThief, k_center, near_rows
from arena.contracts import BadParameter
from arena.learning.architectures import build
from arena.learning.release import entropy
from arena.learning.tensors import row_digests
from arena.learning.training import predict
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, context, digest, play

FEW = {"steps": 5, "steps_inner": 5}


def test_k_center_by_hand():
    points = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.5, 0.5]])
    assert k_center(points, torch.tensor([[1.0, 0.0]]), 2).tolist() == [2, 3]


def test_k_center_takes_every_point_once_though_all_are_equal():
    assert sorted(k_center(torch.ones(5, 2), torch.ones(700, 2), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.fixture
def clone():
    return build("mlp", TABLE, rng=torch.Generator().manual_seed(0)).eval()


def test_uncertainty_takes_the_highest_entropy_first(clone):
    rows = context(rows=50).pool
    best = ActiveThief(strategy="uncertainty")._best(clone, rows, rows[:1], 5, near=20)
    entropies = entropy(predict(clone, rows))
    assert torch.equal(entropies[best], entropies.sort(descending=True).values[:5])


def test_dfal_with_k_center_chooses_among_as_many_near_rows_as_the_budget(clone):
    rows = context(rows=50).pool
    near = ActiveThief(strategy="dfal")._best(clone, rows, rows[:1], 20, near=20)
    best = ActiveThief(strategy="dfal+k-center")._best(clone, rows, rows[:1], 5, near=20)
    assert set(best.tolist()) <= set(near.tolist())
    assert set(best.tolist()) != set(near[:5].tolist())


def test_dfal_keeps_the_share_of_the_candidates_that_the_budget_is_of_the_pool():
    # of 2,000 candidates from a pool of 30,000: at a budget of 3,000 a tenth, however large the budget
    assert near_rows(2_000, budget=3_000, pool=30_000) == 200
    assert near_rows(50, budget=20, pool=50) == 20  # all of the pool are candidates: the budget, as in the paper
    assert near_rows(50, budget=80, pool=70) == 50


def test_dfal_still_matters_where_the_budget_exceeds_the_candidates():
    """With half of the pool to spend and 60 candidates, 30 of the nearest remain, and k-center chooses among them."""

    def leads(strategy):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 500)
        play(ActiveThief(strategy=strategy, rounds=50, fooled=60, candidates=60, steps=5, steps_inner=50), oracle)
        best = torch.cat(oracle.answers[1:26]).topk(2, dim=1).values
        return float((best[:, 0] - best[:, 1]).mean())

    assert leads("dfal+k-center") < leads("k-center") - 0.05


def test_the_first_rows_are_random_and_the_rounds_share_out_the_rest():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 109)
    play(ActiveThief(rounds=5, **FEW), oracle)
    assert [len(call) for call in oracle.calls] == [10, 19, 20, 20, 20, 20]
    random = ToyOracle(VICTIMS["softmax_victim"], 109)
    play(ActiveThief(rounds=5, strategy="random", **FEW), random)
    assert torch.equal(random.calls[0], oracle.calls[0])


def test_a_small_choice_of_candidates_still_spends_the_budget():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 400)
    play(ActiveThief(candidates=3, rounds=2, **FEW), oracle)
    assert oracle.remaining == 0


@pytest.mark.parametrize("strategy", ["random", "uncertainty", "k-center", "dfal", "dfal+k-center"])
def test_a_pool_smaller_than_the_budget_is_asked_whole(strategy):
    oracle = ToyOracle(VICTIMS["softmax_victim"], 50)
    play(ActiveThief(strategy=strategy, rounds=3, **FEW), oracle, rows=30)
    assert sorted(oracle.digests) == sorted(row_digests(context(rows=30).pool))


def test_another_strategy_asks_other_rows():
    asked = set()
    for strategy in ("random", "uncertainty", "k-center", "dfal", "dfal+k-center"):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 60, IMAGES)
        play(ActiveThief(strategy=strategy, rounds=2, fooled=100, **FEW), oracle)
        asked.add(oracle.transcript)
    assert len(asked) == 5


def test_uncertain_rows_lie_nearer_to_the_boundary_of_the_victim():
    def leads(strategy):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 200)
        play(ActiveThief(strategy=strategy, rounds=3, steps=5, steps_inner=100), oracle)
        best = torch.cat(oracle.answers).topk(2, dim=1).values
        return float((best[:, 0] - best[:, 1]).mean())

    assert max(leads("uncertainty"), leads("dfal")) < leads("random") - 0.1


def test_the_last_clone_starts_anew():
    one, other = (ToyOracle(VICTIMS["softmax_victim"], 50) for _ in range(2))
    first = play(ActiveThief(strategy="random", rounds=1, **FEW), one)
    assert digest(first) == digest(play(ActiveThief(strategy="random", rounds=1, steps=5, steps_inner=9), other))


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"seed_share": 0.0}, {"seed_share": 1.5}, {"candidates": 0}])
def test_a_value_that_leaves_nothing_to_choose_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter, match="seed_share"):
        ActiveThief(**wrong)
