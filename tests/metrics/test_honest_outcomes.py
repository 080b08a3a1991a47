import pytest
import torch

from arena.metrics.honest_outcomes import pack, summed, unanswered_as_wrong, unpack

ROWS = torch.tensor([3, 0, 3, 9, 3])  # row 3 is asked three times
CLEAN = torch.tensor([True, False, True, True, True])
RIGHT = torch.tensor([True, True, False, False, True])


def test_outcomes_come_back_by_row_of_the_split():
    found = unpack(pack(ROWS, clean=CLEAN, right=RIGHT, split=11))
    assert found.asked[:11].tolist() == [1, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0]
    assert found.clean[:11].tolist() == [0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0]
    assert found.right[:11].tolist() == [1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]


def test_600_answers_about_2000_rows_take_three_kilobytes():
    rows = torch.randint(2_000, (600,), generator=torch.Generator().manual_seed(0))
    packed = pack(rows, clean=torch.ones(600, dtype=torch.bool), right=torch.ones(600, dtype=torch.bool), split=2_000)
    assert sum(map(len, (packed.rows, packed.clean, packed.asked, packed.right))) < 3_500


def test_more_askings_than_a_byte_can_count_are_refused():
    many = torch.zeros(256, dtype=torch.int64)
    with pytest.raises(ValueError, match="queried 256 times"):
        pack(many, clean=many > 0, right=many > 0, split=4)


def test_what_was_never_answered_is_wrong():
    everything = pack(ROWS, clean=CLEAN, right=CLEAN, split=11)
    answered = pack(ROWS[:1], clean=CLEAN[:1], right=RIGHT[:1], split=11)
    for partly, right in ((answered, 1), (None, 0)):
        found = unpack(unanswered_as_wrong(partly, everything))
        assert (found.asked.sum(), found.clean.sum(), found.right.sum()) == (5, 4, right)


def test_outcomes_of_several_attacks_add_up():
    one = unpack(pack(ROWS, clean=CLEAN, right=RIGHT, split=11))
    both = summed([one, one])
    assert both.asked.tolist() == (2 * one.asked).tolist()
    assert both.right.tolist() == (2 * one.right).tolist()
