import numpy as np
import pytest

from arena.metrics.differences import smallest_difference
from arena.metrics.rank_intervals import compare_all

THREE = [
    [0.80, 0.82, 0.79, 0.81, 0.83],
    [0.79, 0.80, 0.79, 0.80, 0.80],
    [0.70, 0.73, 0.69, 0.70, 0.72],
]
FOURTH = [0.60, 0.63, 0.62, 0.60, 0.61]
IMAGES = 400


def ranks(rows, *, candidates=None, largest_first: bool = True) -> list[str]:
    found = compare_all(rows, images=IMAGES, candidates=candidates)
    return [str(rank) for rank in found.ranks(largest_first=largest_first)]


def test_three_players_worked_out_by_hand():
    # f0 is cut to 4, at half weight 2: df 6; p .0451, 6e-6 and 1e-5, so that Holm rejects all three at .05
    assert ranks(THREE) == ["1", "2", "3"]
    assert ranks(THREE, largest_first=False) == ["3", "2", "1"]


def test_a_fourth_player_takes_away_the_first_rank():
    # df 8, the first pair's p is .0653
    assert ranks([*THREE, FOURTH]) == ["1-2", "1-2", "3", "4"]


def test_a_copy_of_a_player_moves_nobody():
    assert ranks([*THREE, THREE[0]]) == ["1-2", "3", "4", "1-2"]
    assert ranks([*THREE, THREE[1]]) == ["1", "2-3", "4", "2-3"]


def test_a_p_value_is_multiplied_by_the_choices_of_the_one_that_is_ahead():
    assert ranks(THREE, candidates=[2, 1, 1]) == ["1-2", "1-2", "3"]
    assert ranks(THREE, candidates=[1, 2, 1]) == ["1", "2", "3"]


def test_intervals_of_ranks_need_not_be_letters():
    # each cannot be told from the next, but the third can be told from the first
    rows = [
        [0.502, 0.520, 0.485, 0.515, 0.500],
        [0.500, 0.504, 0.497, 0.502, 0.499],
        [0.515, 0.518, 0.510, 0.516, 0.512],
    ]
    found = ranks(rows, largest_first=False)
    assert found[1] == "1-2"
    assert found[0] == "1-3"
    assert found[2] == "2-3"


def test_equal_players_and_a_single_one_share_every_rank():
    assert ranks([THREE[0]] * 4) == ["1-4"] * 4
    assert ranks([THREE[0]]) == ["1"]
    assert compare_all([THREE[0]] * 4, images=IMAGES).resolved is None


def test_four_seeds_rank_nobody():
    assert compare_all([row[:4] for row in THREE], images=IMAGES) is None


def test_players_that_differ_by_one_image_on_every_seed_are_not_told_apart():
    base = np.array(THREE[0])
    assert ranks([base + 1 / IMAGES, base]) == ["1-2", "1-2"]


def test_what_is_resolved_is_what_equal_spreads_would_resolve():
    rng = np.random.default_rng(0)
    common = rng.normal(0.7, 0.02, size=5)
    rows = [common + difference for difference in np.linalg.qr(rng.normal(size=(5, 5)))[0][:3] * 0.04]
    found = compare_all(rows, images=IMAGES)
    pairs = [np.var(one - other, ddof=1) for one, other in ((rows[0], rows[1]), (rows[0], rows[2]), (rows[1], rows[2]))]
    assert found.resolved == pytest.approx(smallest_difference(5, spread=np.sqrt(np.mean(pairs)), players=3))


@pytest.mark.slow
def test_of_200_null_tournaments_of_eight_at_most_19_order_a_pair():
    # 95 % of binomial(200, .05) lie at 14 or below, 99.5 % at 19
    rng = np.random.default_rng(2026)
    false = 0
    for _ in range(200):
        shares = 0.7 + rng.normal(0, 0.015, size=(1, 5)) + rng.normal(0, 0.02, size=(8, 5))
        found = compare_all(rng.binomial(IMAGES, shares) / IMAGES, images=IMAGES)
        false += bool(found.above.any())
    assert false <= 19
