import pytest
import torch

from arena.learning.memorised import Encoding


def rows(number, *shape):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(0))


def test_a_label_carries_as_many_bits_as_classes_can_tell_apart():
    assert [Encoding(shape=(4,), classes=classes).bits for classes in (2, 3, 4, 10, 100)] == [1, 1, 2, 3, 6]


def test_a_row_takes_four_bits_a_value():
    assert Encoding(shape=(1, 8, 8), classes=10).carriers == 86  # 256 bits in threes


def test_labels_by_hand():
    # 5 / 15 is 0101, 10 / 15 is 1010, the lowest bit first; two bits a label
    assert Encoding(shape=(2,), classes=4).labels(torch.tensor([[5 / 15, 10 / 15]])).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(("shape", "classes"), [((5,), 2), ((5,), 3), ((1, 4, 4), 10), ((3, 3, 5), 100)])
def test_labels_give_the_rows_back_to_sixteen_levels(shape, classes):
    encoding, hidden = Encoding(shape=shape, classes=classes), rows(3, *shape)
    labels = encoding.labels(hidden)
    assert labels.shape == (3 * encoding.carriers,)
    assert int(labels.min()) >= 0
    assert int(labels.max()) < classes
    assert float((encoding.rows(labels) - hidden).abs().max()) <= 0.5 / 15 + 1e-6


def test_made_up_inputs_are_the_same_wherever_they_are_made():
    encoding = Encoding(shape=(6,), classes=4)
    assert torch.equal(encoding.inputs(2), encoding.inputs(5)[: 2 * encoding.carriers])
    assert not torch.equal(encoding.inputs(2), encoding.inputs(2, planted=False))
    assert set(encoding.inputs(2).unique().tolist()) == {0.0, 1.0}


def test_a_label_that_carries_nothing_is_read_as_zeros():
    encoding = Encoding(shape=(2,), classes=10)
    assert encoding.rows(torch.full((encoding.carriers,), 9)).tolist() == [[0.0, 0.0]]
