import pytest
import torch

from arena.attacks.parts.kinks import Kink, Line, Observed, hyperplane, kinks_on, second_differences, through


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def asking(function):
    """A function that may be asked, and the points that it was asked for."""
    points = []

    def ask(asked):
        points.append(asked)
        return Observed(points=asked, values=function(asked))

    return ask, points


def bent_at(*places):
    """|x_0 - place| for each place, in two classes."""

    def function(points):
        total = sum((points[:, 0] - place).abs() * (1 + number) for number, place in enumerate(places))
        return torch.stack([total, -total], dim=1)

    return function


ACROSS = Line(start=double(0.0, 0.5), way=double(1.0, 0.0))


class TestALine:
    def test_reaches_from_border_to_border(self):
        line = through(double(0.4, 0.5), double(0.6, 0.5))
        assert line.start.tolist() == pytest.approx([0.0, 0.5])
        assert (line.start + line.way).tolist() == pytest.approx([1.0, 0.5])

    def test_is_not_cut_short_by_a_border_along_which_it_runs(self):
        line = through(double(0.4, 1.0), double(0.6, 1.0))
        assert line.way.tolist() == pytest.approx([1.0, 0.0])

    def test_knows_the_places_of_its_points(self):
        places = double(0.0, 0.25, 1.0)
        assert ACROSS.place_of(ACROSS.at(places)).tolist() == pytest.approx(places.tolist())


class TestKinks:
    @pytest.mark.parametrize("place", [0.011, 0.13, 0.24, 0.51, 0.77, 0.99])
    def test_one_is_found_where_it_is_with_its_change_of_slope(self, place):
        ask, _ = asking(bent_at(place))
        (kink,) = kinks_on(ACROSS, ask, noise=1e-12)
        assert kink.place == pytest.approx(place, abs=1e-9)
        assert kink.jump.tolist() == pytest.approx([2.0, -2.0])
        assert kink.room == pytest.approx(min(place, 1 - place))

    def test_neighbours_are_told_apart_by_halving(self):
        ask, _ = asking(bent_at(0.30, 0.31, 0.345))
        kinks = kinks_on(ACROSS, ask, noise=1e-12)
        assert [kink.place for kink in kinks] == pytest.approx([0.30, 0.31, 0.345], abs=1e-9)
        assert [float(kink.jump[0]) for kink in kinks] == pytest.approx([2, 4, 6])

    def test_two_that_are_nearer_than_the_shortest_window_are_given_up(self):
        ask, _ = asking(bent_at(0.3, 0.3 + 1e-6))
        assert kinks_on(ACROSS, ask, noise=1e-12) == []

    def test_a_straight_function_costs_only_the_first_rows(self):
        ask, points = asking(lambda asked: torch.stack([asked[:, 0], -asked[:, 0]], dim=1))
        assert kinks_on(ACROSS, ask, noise=1e-12) == []
        assert [len(asked) for asked in points] == [17]

    def test_no_row_is_asked_twice(self):
        ask, points = asking(bent_at(0.30, 0.31, 0.345, 0.8))
        kinks_on(ACROSS, ask, noise=1e-12)
        asked = torch.cat(points)
        assert len(asked.unique(dim=0)) == len(asked)


class TestAHyperplane:
    normal, offset = double(0.6, 0.8), double(-0.71)[0]

    def unit(self, points):
        away = (points @ self.normal + self.offset).abs()
        return torch.stack([2 * away, -away, points[:, 1]], dim=1)

    def test_is_read_off_the_jacobians_on_both_sides(self):
        ask, _ = asking(self.unit)
        (kink,) = kinks_on(ACROSS, ask, noise=1e-12)
        found = hyperplane(ACROSS, kink, ask, noise=1e-12, precision=5e-3)
        sign = float(found.normal @ self.normal)
        assert abs(sign) == pytest.approx(1, abs=1e-9)
        assert float(found.offset * sign) == pytest.approx(-0.71, abs=1e-7)

    def test_is_not_guessed_where_no_step_is_long_enough_for_the_noise(self):
        ask, points = asking(self.unit)
        kink = Kink(place=0.5, jump=double(2.4, -1.2, 0.0), room=0.5)
        assert hyperplane(ACROSS, kink, ask, noise=0.01, precision=5e-3) is None
        assert not points

    def test_is_refused_where_another_kink_is_between_the_jacobians(self):
        def two(points):
            return self.unit(points) + 3 * (points[:, :1] - 0.55).abs()

        ask, _ = asking(two)
        kink = Kink(place=0.31 / 0.6, jump=double(2.4, -1.2, 0.0), room=0.4)
        assert hyperplane(ACROSS, kink, ask, noise=1e-12, precision=5e-3) is None


def test_second_differences_by_hand():
    assert second_differences(double(0.0, 1.0, 4.0).unsqueeze(1)).tolist() == [[2.0]]
