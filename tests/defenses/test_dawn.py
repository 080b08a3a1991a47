import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.defenses.dawn import Dawn
from tests.defenses.toy import LinearVictim, deployed, inputs

MANY = 4_000


def decided(defense, *, seed=0, rows=MANY):
    return deployed(defense, seed=seed)(inputs(rows)).argmax(dim=1)


def test_about_its_share_of_the_rows_gets_another_class():
    clean = LinearVictim()(inputs(MANY)).argmax(dim=1)
    share = float((decided(Dawn(rate=0.05)) != clean).float().mean())
    assert share == pytest.approx(0.05, abs=0.012)


def test_a_mark_exchanges_two_values_and_leaves_the_others():
    clean, rows = LinearVictim()(inputs(MANY)), deployed(Dawn(rate=0.05))(inputs(MANY))
    marked = rows.argmax(dim=1) != clean.argmax(dim=1)
    assert torch.equal(rows[~marked], clean[~marked])
    assert torch.equal(rows[marked].sort(dim=1).values, clean[marked].sort(dim=1).values)
    assert bool(((rows != clean).sum(dim=1)[marked] == 2).all())


def test_a_marked_row_has_the_same_wrong_class_whenever_it_comes():
    respond = deployed(Dawn(rate=0.2))
    asked = inputs(500)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(respond(asked)[order], respond(asked[order]))


def test_another_match_marks_other_rows():
    assert not torch.equal(decided(Dawn(rate=0.05), seed=0), decided(Dawn(rate=0.05), seed=1))


def test_the_runner_up_is_the_second_class():
    clean, rows = LinearVictim()(inputs(MANY)), deployed(Dawn(rate=0.1, wrong="runner-up"))(inputs(MANY))
    marked = rows.argmax(dim=1) != clean.argmax(dim=1)
    assert torch.equal(rows[marked].argmax(dim=1), clean[marked].topk(2, dim=1).indices[:, 1])


def test_wrong_classes_are_about_evenly_drawn():
    clean, rows = LinearVictim()(inputs(MANY)), deployed(Dawn(rate=0.5))(inputs(MANY))
    marked = rows.argmax(dim=1) != clean.argmax(dim=1)
    places = (clean[marked].argsort(dim=1, descending=True) == rows[marked].argmax(dim=1, keepdim=True)).nonzero()[:, 1]
    shares = places.bincount(minlength=6)[1:] / len(places)
    assert float(shares.min()) > 0.15
    assert float(shares.max()) < 0.25


def test_no_rate_is_no_defense():
    assert torch.equal(deployed(Dawn(rate=0.0))(inputs()), LinearVictim()(inputs()))


def test_what_cannot_be_is_refused():
    with pytest.raises(BadParameter, match="rate"):
        Dawn(rate=1.0)
    with pytest.raises(BadParameter, match="another class"):
        Dawn().check(Task(shape=(5,), classes=1))
