import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from arena.attacks.knockoff_adaptive import (
    KnockoffAdaptive,
    Level,
    centred_ranks,
    certainty,
    distance_from_uniform,
    tree_of,
)
from arena.contracts import AttackContext, BadParameter
from tests.attacks.toy import IMAGES, VICTIMS, ToyOracle, context

FEW = {"steps": 5, "steps_inner": 5}
GENTLE = {"floor": 0.5, "warmup": 0.3, "batch": 50, "step": 0.5}
"""As in version 1, for tests of how warm-up and batches divide the budget."""


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def one_and_three():
    """A node of two groups with one row and three, the preference of the first ln 3: q = (1/2, 1/2)."""
    level = Level(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0]))
    level.preferences[0] = math.log(3)
    return level


def test_the_policy_by_hand():
    # Shares 1/4 and 3/4; e^H = 3 and 1, in the mean 3/2; so 2 and 2/3 times as readily as at random.
    assert one_and_three().tilts(torch.arange(4)).tolist() == pytest.approx([2, 2 / 3])


def test_the_update_by_hand():
    level = one_and_three()
    level.reward(torch.tensor([0]), torch.tensor([0.4]), torch.arange(4), step=0.5)
    # a = 0.5 * 0.4 = 0.2: H_0 += 0.2 (1 - 1/2), H_1 -= 0.2 / 2
    assert level.preferences.tolist() == pytest.approx([math.log(3) + 0.1, -0.1])
    level.preferences = torch.tensor([math.log(3), 0.0])
    level.reward(torch.tensor([0]), torch.tensor([0.4]), torch.arange(4), step=0.5)
    assert float(level.preferences[1]) == pytest.approx(-0.1 / math.sqrt(2))  # its second update


def test_only_siblings_share_a_node():
    level = Level(torch.arange(4), torch.tensor([0, 0, 1, 1]))
    level.reward(torch.tensor([0, 2]), torch.tensor([0.4, 0.0]), torch.arange(4), step=1.0)
    assert level.preferences.tolist() == pytest.approx([0.2, -0.2, 0.0, 0.0])


def test_preferences_stay_bounded():
    level = one_and_three()
    for _ in range(200):
        level.reward(torch.tensor([0]), torch.tensor([0.5]), torch.arange(4), step=5.0)
    assert level.preferences.tolist() == [2.0, -2.0]


def test_a_group_that_is_used_up_leaves_its_siblings_as_they_are():
    assert one_and_three().tilts(torch.tensor([1, 2, 3])).tolist()[1] == pytest.approx(1.0)
    assert bool(one_and_three().tilts(torch.empty(0, dtype=torch.long)).isfinite().all())


def test_ranks_are_centred_and_ties_share_one():
    values = torch.tensor([[5.0, 1.0], [7.0, 1.0], [5.0, 1.0], [-3.0, 1.0]])
    # Ranks 2.5, 4, 2.5, 1 of 4, less their mean 5/8.
    assert centred_ranks(values)[:, 0].tolist() == pytest.approx([0, 0.375, 0, -0.375])
    assert centred_ranks(values)[:, 1].tolist() == [0.0] * 4


def test_rewards_by_hand():
    attack = KnockoffAdaptive()
    released, known = torch.tensor([[0.7, 0.3], [0.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    rewards = attack._rewards(released, torch.zeros(2, 2), known)
    # Certainty 0.7 - 0.3, diversity 0.7 - 0.3 above the mean (0.3, 0.7), loss ln 2; nothing of a refused row.
    assert rewards[0].tolist() == pytest.approx([0.4, 0.4, math.log(2)])
    assert rewards[1].tolist() == [0.0, 0.0, 0.0]
    assert certainty(torch.tensor([[0.2, 0.5, 0.3]])).tolist() == pytest.approx([0.2])


def test_the_tree_parts_the_pool_and_each_group():
    pool = context(IMAGES, rows=500).pool
    coarse, fine = tree_of(pool, (4, 3), rng=rng())
    assert len(coarse.preferences) == 4
    assert len(fine.preferences) == 12
    for leaf in range(12):  # all rows of a leaf lie in one coarse group
        assert len(coarse.groups[fine.groups == leaf].unique()) == 1


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_tiny_pool_has_as_many_groups_as_it_has_rows(rows):
    _, fine = tree_of(context(rows=rows).pool, (8, 8), rng=rng())
    assert len(fine.preferences) == rows


def test_equal_answers_leave_no_preference():
    """Constant rewards are random sampling: what each group gives is what its size says."""
    counts = torch.zeros(6)
    for seed in range(5):
        drawn, groups = extract(
            KnockoffAdaptive(arms=(6, 1), rewards=("certainty", "diversity"), **FEW), "constant", seed
        )
        counts += groups[drawn].bincount(minlength=6)
        sizes = groups.bincount(minlength=6)
    assert chisquare(counts.numpy(), (counts.sum() * sizes / sizes.sum()).numpy()).pvalue > 0.01


def extract(attack, victim, seed=0, *, rows=2000, budget=600):
    """The pool rows that an attack asked, by number, and one fixed grouping of the pool."""
    place = context(rows=rows)
    oracle = ToyOracle(VICTIMS[victim] if isinstance(victim, str) else victim, budget)
    attack.extract(oracle, place, rng=rng(seed))
    number = {tuple(row): index for index, row in enumerate(place.pool.tolist())}
    groups = tree_of(place.pool, attack.arms, rng=rng(7))[0].groups
    return torch.tensor([number[tuple(row)] for call in oracle.calls for row in call.tolist()]), groups


def test_the_group_that_teaches_is_asked_more_often():
    """Two heaps: in one the answers are always the same flat row, in the other they are certain and differ."""
    heaps = torch.cat([torch.rand(4500, 6, generator=rng(1)) * 0.3, 0.7 + torch.rand(1500, 6, generator=rng(2)) * 0.3])

    def victim(inputs):
        rich = VICTIMS["labels"]((inputs - 0.7) / 0.3)
        return torch.where(inputs.mean(dim=1, keepdim=True) > 0.5, rich, torch.full_like(rich, 1 / 3))

    place = AttackContext(pool=heaps, device=torch.device("cpu"), time_left=lambda: 60.0)
    early, late = [], []
    for seed in range(3):
        oracle = ToyOracle(victim, 2000)
        KnockoffAdaptive(**GENTLE, steps=5, steps_inner=20, arms=(2, 1)).extract(oracle, place, rng=rng(seed))
        rich = (torch.cat(oracle.calls).mean(dim=1) > 0.5).float()
        early.append(float(rich[:600].mean()))
        late.append(float(rich[1000:].mean()))
    assert sum(early) / 3 == pytest.approx(0.25, abs=0.05)  # the warm-up is random
    assert sum(late) / 3 > 1.3 * 0.25


def test_the_distance_from_uniform_by_hand():
    # shares 3/4 and 1/4: a quarter of the rows is drawn differently
    assert distance_from_uniform(torch.tensor([3.0, 1.0])) == pytest.approx(0.25)
    assert distance_from_uniform(torch.ones(7)) == pytest.approx(0.0)


def stated(attack, *, budget=400):
    """The facts that an attack states, where certainty differs between groups of the pool."""
    facts = {}
    place = replace(context(rows=2000), note=facts.__setitem__)
    attack.extract(ToyOracle(VICTIMS["softmax_victim"], budget), place, rng=rng())
    return facts


def test_by_default_the_draw_moves_far_from_random_and_the_result_says_how_far():
    assert stated(KnockoffAdaptive(**FEW))["distance_from_uniform"] > 0.2
    assert stated(KnockoffAdaptive(**GENTLE, **FEW))["distance_from_uniform"] < 0.1
    assert stated(KnockoffAdaptive(floor=1.0, **FEW))["distance_from_uniform"] == pytest.approx(0.0, abs=1e-6)


def test_floor_one_is_random_sampling_without_replacement():
    drawn, _ = extract(KnockoffAdaptive(floor=1.0, **FEW), "labels", rows=600, budget=600)
    assert sorted(drawn.tolist()) == list(range(600))


def test_asks_in_batches_after_a_random_share():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 400)
    KnockoffAdaptive(**GENTLE, **FEW).extract(oracle, context(), rng=rng())
    assert [len(call) for call in oracle.calls] == [120, 50, 50, 50, 50, 50, 30]


@pytest.mark.parametrize(
    "wrong", [{"arms": (0, 8)}, {"batch": 0}, {"floor": 1.5}, {"warmup": -0.1}, {"step": 0.0}, {"rewards": ()}]
)
def test_a_value_that_makes_no_bandit_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter, match=r"at least|lie in"):
        KnockoffAdaptive(**wrong)
