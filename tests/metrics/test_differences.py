import pytest

from arena.metrics.differences import difference_interval, holm, paired_p_value, smallest_difference

IMAGES = 400
DIFFERENCES = [0.02, 0.03, 0.01, 0.04, 0.02]  # mean .024, sd .011402, above the floor sqrt(.024 / 400) = .0077


def in_images(*differences: int) -> list[float]:
    return [difference / IMAGES for difference in differences]


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [((1,) * 5, 0.08901), ((4,) * 5, 0.01106), ((20,) * 5, 0.000562), ((0,) * 5, 1.0)],
)
def test_equal_differences_are_no_more_certain_than_their_discordant_images(differences, p_value: float):
    # five differences of one image: sd' = sqrt(1/400 / 400) = 1/400, t = sqrt(5)
    assert paired_p_value(in_images(*differences), images=IMAGES) == pytest.approx(p_value, abs=5e-6)


def test_the_interval_of_equal_differences_has_a_width():
    interval = difference_interval(in_images(1, 1, 1, 1, 1), images=IMAGES)
    assert interval.half == pytest.approx(0.0031042, abs=1e-6)
    assert not interval.excludes_zero


def test_where_seeds_spread_more_than_images_they_decide():
    assert paired_p_value(DIFFERENCES, images=IMAGES) == pytest.approx(0.0094, abs=1e-3)
    assert difference_interval(DIFFERENCES, images=IMAGES).half == pytest.approx(0.014157, abs=1e-6)


def test_the_interval_and_the_test_agree():
    barely = difference_interval(DIFFERENCES, images=IMAGES).half
    shifted = [difference - 0.024 + barely for difference in DIFFERENCES]
    assert paired_p_value(shifted, images=IMAGES) == pytest.approx(0.05)


def test_fewer_than_five_seeds_claim_no_difference():
    assert paired_p_value(in_images(40, 41, 42, 41), images=IMAGES) == 1
    assert paired_p_value([], images=IMAGES) == 1


def test_holm_stops_at_the_first_that_it_cannot_reject():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.03, 0.03]) == [False, False]
    assert holm([0.02, 0.04]) == [True, True]
    assert holm([]) == []


def test_the_smallest_difference_of_two_players_is_the_half_width_of_what_has_this_spread():
    assert smallest_difference(5, spread=1.1402) == pytest.approx(1.4157, abs=1e-3)
    assert smallest_difference(4, spread=1.0) is None


def test_the_smallest_difference_grows_with_the_players_that_are_compared():
    # 3 players: 3 pairs, 4 x 3 / 2 = 6 degrees, t(6, .05 / 3 two-sided) = 3.2875
    assert smallest_difference(5, spread=1.0, players=3) == pytest.approx(3.2875 / 5**0.5, abs=1e-4)
    resolved = [smallest_difference(10, spread=1.0, players=players) for players in (2, 3, 5, 8, 19)]
    assert resolved == sorted(resolved)
