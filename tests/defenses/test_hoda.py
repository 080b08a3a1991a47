from dataclasses import replace

import pytest
import torch
from torch import nn

from arena.contracts import BadParameter, QueryBatch
from arena.defenses.hoda import Histogram, Hoda, hardness, pearson_distance, sequences_from
from arena.defenses.parts.defender_networks import restored
from tests.defenses.toy import LinearVictim, context, inputs


class Says(nn.Module):
    """A network that calls an input class 1 from a border of its first column up."""

    def __init__(self, border):
        super().__init__()
        self.border = nn.Parameter(torch.tensor(border))

    def forward(self, rows):
        side = rows[:, 0] - self.border
        return torch.stack([-side, side], dim=1)


NETWORKS = [Says(0.9), Says(0.1), Says(0.5), Says(0.5)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def column(*values):
    return torch.tensor([[value, 0.0] for value in values])


def test_the_hardness_degree_is_the_snapshot_from_which_on_all_agree():
    # at .2 they say 0, 1, 0, 0: agreed from the third on; at .6: 0, 1, 1, 1; at .95 and at .05 always the same
    assert hardness(NETWORKS, column(0.2, 0.6, 0.95, 0.05)).tolist() == [2, 1, 0, 0]


def test_the_pearson_distance_by_hand():
    normal = torch.tensor([3.0, 1.0, 0.0])
    counts = torch.tensor([[30, 10, 0], [0, 1, 3], [1, 1, 1], [2, 2, 0]])
    # deviations (5, -1, -4)/3; of (0, 1, 3): (-4, -1, 5)/3: -39/42; flat: no correlation; of (2, 2, 0): (2, 2, -4)/3
    expected = [0.0, 1 + 39 / 42, 1.0, 1 - (10 - 2 + 16) / (42 * 24) ** 0.5]
    assert pearson_distance(counts, normal).tolist() == pytest.approx(expected)


def test_the_threshold_is_what_random_sequences_of_normal_rows_reach():
    normal = torch.tensor([70.0, 20.0, 10.0])
    drawn = [sequences_from(normal, window=window, sequences=500, rng=rng()) for window in (20, 500)]
    assert [counts.sum(dim=1).unique().tolist() for counts in drawn] == [[20], [500]]
    short, long = (float(pearson_distance(counts, normal).max()) for counts in drawn)
    assert 0 < long < short < 0.5


def seen(watch, rows, size=None):
    return torch.cat([watch(part, part) for part in rows.split(size or len(rows))]).tolist()


def histogram(threshold=0.5):
    return Histogram(NETWORKS, torch.tensor([8.0, 1.0, 1.0, 0.0]).double(), window=4, threshold=threshold)


def test_the_last_rows_are_looked_at_after_each_row():
    rows = column(0.95, 0.2, 0.2, 0.2, 0.2, 0.95, 0.95, 0.95)
    # windows of 4, as (easy, hard): (1, 3), (0, 4), (1, 3), (2, 2), (3, 1)
    distances = pearson_distance(
        torch.tensor([[1, 0, 3, 0], [0, 0, 4, 0], [1, 0, 3, 0], [2, 0, 2, 0], [3, 0, 1, 0]]), torch.tensor([8, 1, 1, 0])
    )
    alarms = [False] * 3 + (distances > 0.5).tolist()
    assert alarms[3:] == [True, True, True, False, False]
    for size in (None, 1, 3):
        assert seen(histogram(), rows, size) == alarms


WATCHED = Hoda(window=20, snapshots=5, sequences=20_000, steps=100)


def taught(rows=300):
    labelled = inputs(rows, seed=32), LinearVictim()(inputs(rows, seed=32)).argmax(dim=1)
    return replace(context(), training=labelled)


def hard_rows(here, state):
    rows = inputs(400, seed=33)
    return rows[hardness([restored(state, f"snapshot-{number}", here) for number in range(5)], rows) > 1]


def test_hard_queries_are_blocked_and_ordinary_ones_are_not():
    here = taught()
    state = WATCHED.train(here, rng=rng())
    for queries, blocked in ((inputs(400, seed=33), False), (hard_rows(here, state), True)):
        answer = WATCHED.deploy(here, state, rng=rng())(QueryBatch(inputs=queries))
        assert bool(answer.refused.any()) is blocked
        assert not bool(answer.refused[:19].any())


def test_earliest_is_a_window():
    assert Hoda().detection_delay == 100


def test_what_is_normal_is_measured_on_rows_that_the_snapshots_have_not_learnt():
    """Labels of pure chance can only be learnt by heart, so half of them stay unknown."""
    rows, labels = inputs(100, seed=34), torch.randint(6, (100,), generator=rng())
    here = replace(context(), training=(rows, labels))
    state = Hoda(snapshots=5, steps=1_000).train(here, rng=rng())
    right = (restored(state, "snapshot-4", here)(rows).argmax(dim=1) == labels).float().mean()
    assert len(state["normal"]) == 50
    assert 0.45 < float(right) < 0.75


def stated(defense, here):
    """The facts that the deployed detector states."""
    facts = {}
    defense.deploy(replace(here, note=facts.__setitem__), defense.train(here, rng=rng()), rng=rng())
    return facts


def test_the_result_says_what_the_threshold_is_and_what_it_costs():
    here = taught()
    facts = stated(WATCHED, here)
    assert facts["calibration_rows"] == 150
    assert 0 < facts["threshold"] < 1
    assert facts["benign_sequences_suspected"] < 0.01
    hard = hard_rows(here, WATCHED.train(here, rng=rng()))
    hard_here = replace(here, validation=(hard, hard[:, 0].long()))
    assert stated(WATCHED, hard_here)["benign_sequences_suspected"] > 0.5
    nothing = inputs(0), torch.empty(0).long()
    assert "benign_sequences_suspected" not in stated(WATCHED, replace(here, validation=nothing))


def test_without_rows_to_learn_from_it_cannot_be_trained():
    with pytest.raises(BadParameter, match="training rows"):
        Hoda(steps=11).train(replace(context(), training=(inputs(0), torch.empty(0).long())), rng=rng())


def test_only_what_training_reads_trains_anew():
    assert Hoda.trained_by == {"held", "snapshots", "steps"}


@pytest.mark.parametrize("fields", [{"snapshots": 1}, {"window": 0}, {"sequences": 0}, {"held": 1.0}, {"steps": 5}])
def test_values_that_make_no_sense_are_bad_parameters(fields):
    with pytest.raises(BadParameter, match=next(iter(fields))):
        Hoda(**fields)
