from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from arena.metrics.decision_cost import decision_cost, unseen_at_most
from arena.metrics.honest_outcomes import Outcomes

IMAGES, SEEDS = 200, 5


def outcomes(lost: Callable[[int], list[int]], *, times: int = 1, seeds: int = SEEDS) -> list[Outcomes]:
    """On each seed every image is asked ``times`` times and the undefended victim reads all; some are then wrong."""
    found = []
    for seed in range(seeds):
        asked = np.full(IMAGES, times)
        right = asked.copy()
        right[lost(seed)] = 0
        found.append(Outcomes(asked=asked, clean=asked, right=right))
    return found


def percent(cost) -> tuple[float, float]:
    return round(100 * cost.low, 3), round(100 * cost.high, 3)


def test_nothing_lost_leaves_an_interval_as_wide_as_200_images_allow():
    # a = b = 1 / 202, half = 1.96 sqrt(2 / 202 / 202)
    assert percent(decision_cost(outcomes(lambda _: []))) == (-1.372, 1.372)


@pytest.mark.parametrize("times", [1, 4, 11])
def test_the_same_two_images_lost_on_every_seed_are_two_of_200_however_many_attacks_asked_them(times: int):
    cost = decision_cost(outcomes(lambda _: [0, 1], times=times))
    assert (cost.lost, cost.images) == (Fraction(1, 100), IMAGES)
    assert percent(cost) == (-0.946, 2.926)


def test_two_other_images_on_each_seed_are_ten_of_1000():
    assert percent(decision_cost(outcomes(lambda seed: [2 * seed, 2 * seed + 1]))) == (0.323, 1.673)


def test_one_seed_has_its_images():
    assert percent(decision_cost(outcomes(lambda _: [0, 1], seeds=1))) == (-0.946, 2.926)


def test_a_defense_that_loses_everything_on_one_seed_of_five_is_as_uncertain_as_five_seeds():
    # one account blocked on one seed: 200 images say no more of that than one
    cost = decision_cost(outcomes(lambda seed: list(range(IMAGES)) if seed == 0 else []))
    assert float(cost.lost) == 0.2
    assert cost.high - cost.low > 0.6


def test_more_images_do_not_make_up_for_seeds_that_differ():
    few = decision_cost(outcomes(lambda seed: list(range(10 * seed))))
    spread = np.std([0, 0.05, 0.1, 0.15, 0.2], ddof=1)
    assert few.high - few.low > 2 * 2.776 * spread / 5**0.5 * 0.95


def test_an_image_that_is_asked_again_still_counts_once():
    found = outcomes(lambda _: [], seeds=1)
    asked = found[0].asked.copy()
    asked[0] = 10
    right = asked.copy()
    right[0] = 5  # half of its ten answers are wrong
    cost = decision_cost([Outcomes(asked=asked, clean=asked, right=right)])
    assert cost.lost == Fraction(1, 2) / IMAGES


def test_images_that_no_seed_asked_do_not_count():
    (found,) = outcomes(lambda _: [0, 1], seeds=1)
    longer = Outcomes(**{name: np.append(getattr(found, name), [0] * 8) for name in ("asked", "clean", "right")})
    assert decision_cost([longer]) == decision_cost([found])


def test_gains_cancel_losses_in_the_mean_and_widen_the_interval():
    (found,) = outcomes(lambda _: [0, 1], seeds=1)
    clean = found.clean.copy()
    clean[[2, 3]] = 0  # the victim reads two wrong that the defense gets right
    cost = decision_cost([Outcomes(asked=found.asked, clean=clean, right=found.right)])
    assert cost.lost == 0
    assert cost.high - cost.low > 0.039


def test_what_no_change_in_so_many_images_leaves_open():
    assert unseen_at_most(200) == pytest.approx(0.0149, abs=5e-5)
    assert unseen_at_most(1_000) == pytest.approx(0.0030, abs=5e-5)
