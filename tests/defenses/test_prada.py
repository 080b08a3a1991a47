import numpy as np
import pytest
import torch
from scipy.stats import shapiro

from arena.contracts import BadParameter, QueryBatch
from arena.defenses.prada import Distances, GrowingSet, Prada
from tests.defenses.toy import context

ONE_CLASS = (1.0, 0.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def growing(cap=None):
    return GrowingSet(cap=cap, rng=rng())


def watch(*, delta=0.9, least=20, window=5_000, cap=None):
    return Distances(delta=delta, least=least, every=10, window=window, cap=cap, rng=rng())


def one_hot(labels, classes=3):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), classes).float()


def natural(rows=400, seed=0, columns=50):
    return torch.randn(rows, columns, generator=rng(seed)).mul(0.1).add(0.5).clamp(0, 1)


def synthetic(rows=400, seed=0):
    """Each row a small step from one of a few: nearest distances of two kinds."""
    base = natural(rows // 4, seed=seed)
    return torch.cat([base, *(base + 0.01 * step * torch.ones(base.shape[1]) for step in (1, 2, 3))])


def row_by_row(rows, labels, *, delta, least, every=10):
    """The authors' detector as it is written down, one row at a time."""
    sets, inserted, thresholds, distances = {}, {}, {}, {}
    alarm, alarms = False, []
    for number, (row, label) in enumerate(zip(rows.double().numpy(), labels, strict=True)):
        if label not in sets:
            sets[label], inserted[label], thresholds[label], distances[label] = [row], [0.0], 0.0, []
        else:
            distance = min(np.linalg.norm(row - other) for other in sets[label])
            distances[label].append(distance)
            if distance > thresholds[label]:
                sets[label].append(row)
                inserted[label].append(distance)
                thresholds[label] = max(thresholds[label], np.mean(inserted[label]) - np.std(inserted[label]))
        if number % every == 0:
            enough = [found for found in distances.values() if len(found) >= 10]
            kept = np.concatenate(enough) if enough else np.zeros(0)
            kept = kept[np.abs(kept - kept.mean()) < 3 * kept.std()] if len(kept) else kept
            if len(kept) > least:
                alarm = shapiro(kept).statistic < delta
        alarms.append(bool(alarm))
    return alarms, {label: (len(sets[label]), thresholds[label]) for label in sets}


def test_the_growing_set_by_hand():
    found = growing()
    distances = list(found.meet(torch.tensor([[0.0], [1.0], [3.0], [6.0]])))
    assert distances == [None, 1.0, 2.0, 3.0]
    assert len(found) == 4
    assert found.threshold == pytest.approx(0.38197, abs=1e-5)
    assert list(found.meet(torch.tensor([[6.2]]))) == pytest.approx([0.2], abs=1e-6)  # nearer than the threshold
    assert len(found) == 4


def test_repeats_are_at_distance_nothing():
    rows = natural(30)
    found = growing()
    list(found.meet(rows))
    assert list(found.meet(rows)) == [0.0] * 30
    assert len(found) == 30


@pytest.mark.parametrize("rows", [natural(), synthetic()], ids=["natural", "synthetic"])
def test_is_the_authors_detector(rows):
    labels = (rows.sum(dim=1) * 10).long() % 3
    alarms, sets = row_by_row(rows, labels.tolist(), delta=0.97, least=20)
    whole = watch(delta=0.97)
    assert whole(rows, one_hot(labels)).tolist() == alarms
    assert {label: len(found) for label, found in whole._sets.items()} == {key: size for key, (size, _) in sets.items()}
    assert all(found.threshold == pytest.approx(sets[label][1]) for label, found in whole._sets.items())


@pytest.mark.parametrize("cap", [None, 5, 60])
@pytest.mark.parametrize("size", [1, 7, 256])
def test_a_batch_is_seen_as_its_rows_one_by_one(size, cap):
    rows = torch.cat([natural(150), synthetic(100), natural(20)])  # the last are repeats
    posteriors = one_hot((rows.sum(dim=1) * 10).long() % 3)
    pieces, whole = watch(delta=0.98, cap=cap), watch(delta=0.98, cap=cap)
    cut = torch.cat([pieces(*part) for part in zip(rows.split(size), posteriors.split(size), strict=True)])
    assert torch.equal(cut, whole(rows, posteriors))
    assert pieces.normality == whole.normality


def test_natural_rows_raise_no_alarm_and_synthetic_ones_do():
    for rows, alarmed in ((natural(), False), (synthetic(), True)):
        assert bool(watch()(rows, one_hot([0] * len(rows))).any()) is alarmed


def test_equal_distances_make_no_test():
    seen = watch()
    assert not bool(seen(natural(1).expand(200, -1), one_hot([0] * 200)).any())
    assert seen.normality is None


def test_only_the_last_distances_count():
    seen = watch(window=50)
    seen(torch.cat([synthetic(100), natural(200)]), one_hot([0] * 300))
    late = watch(window=50)
    late(natural(200), one_hot([0] * 200))
    assert seen.normality == pytest.approx(late.normality, abs=0.05)


def test_a_capped_set_keeps_its_size_and_its_statistics():
    capped, free = growing(cap=10), growing()
    list(capped.meet(natural(200)))
    list(free.meet(natural(200)))
    assert len(capped) == 10 < len(free)
    assert capped.threshold >= 0.5 * free.threshold


@pytest.mark.parametrize(("least", "earliest"), [(100, 111), (105, 111), (20, 31)])
def test_cannot_act_before_its_first_test(least, earliest):
    defense = Prada(delta=1.0, least=least)  # W is always less
    assert defense.detection_delay == earliest
    respond = defense.deploy(context(), {}, rng=rng())
    rows = natural(300, columns=5) * torch.tensor([1, 0.01, 0.01, 0.01, 0.01])  # all of one class
    refused = respond(QueryBatch(inputs=rows)).refused
    assert int(refused.int().argmax()) + 1 == earliest


def test_accounts_have_sets_of_their_own():
    respond = Prada(delta=1.0, least=20).deploy(context(), {}, rng=rng())
    rows = natural(120, columns=5)
    assert bool(respond(QueryBatch(inputs=rows, account=1)).refused.any())
    assert not bool(respond(QueryBatch(inputs=rows[:20], account=2)).refused.any())


@pytest.mark.parametrize(
    "fields", [{"delta": 1.5}, {"every": 0}, {"growing_cap": 0}, {"least": 5}, {"window": 100}, {"window": 5_001}]
)
def test_values_that_make_no_sense_are_bad_parameters(fields):
    with pytest.raises(BadParameter, match=next(iter(fields))):
        Prada(**fields)
