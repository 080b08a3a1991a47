import pytest
import torch

from arena.contracts import BadParameter, Promise
from arena.defenses.label_only import LabelOnly
from arena.defenses.modelguard import Book, ModelGuardS, ModelGuardW, least_likely
from arena.defenses.prada import Prada
from tests.defenses.toy import LinearVictim, deployed, inputs

ROW = torch.tensor([[0.7, 0.2, 0.1]])


@pytest.mark.parametrize(
    ("epsilon", "row"), [(0.4, [0.5, 0.2, 0.3]), (0.6, [0.4, 0.2, 0.4]), (0.8, [1 / 3] * 3), (1.0, [1 / 3] * 3)]
)
def test_the_least_likely_row_by_hand(epsilon, row):
    rows = least_likely(ROW, epsilon=epsilon, margin=0.0)
    assert torch.allclose(rows, torch.tensor([row]).double(), atol=1e-7)


def test_the_budget_need_not_be_used_up():
    rows = least_likely(ROW, epsilon=1.0, margin=0.0)
    assert float((rows - ROW).abs().sum()) == pytest.approx(0.7 - 0.2 - 0.1 + 1 / 3)


def test_the_predicted_class_leads_by_the_margin():
    rows = least_likely(ROW, epsilon=1.0, margin=0.01)
    assert torch.allclose(rows, torch.tensor([[1.02, 0.99, 0.99]]).double() / 3)


def test_labels_of_guarded_rows_are_labels():
    for guarded in (ModelGuardW(), ModelGuardS()):
        assert torch.equal(deployed(LabelOnly(base=guarded))(inputs()), deployed(LabelOnly())(inputs()))


def test_distances_to_the_victim_add_up_over_a_base():
    assert ModelGuardS(epsilon=0.5, base=ModelGuardW(epsilon=0.25)).promise == Promise(
        argmax=True, l1=0.75, stateful=True
    )


def test_a_row_gets_the_first_word_that_is_near_enough():
    book = Book(2, epsilon=0.4)
    rows = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.75, 0.25], [0.1, 0.9]])
    words = book.words_for(rows)
    # the second is .6 from the first and opens a word; the third is .3 from both; the last has another class
    assert torch.equal(words, rows[[0, 1, 0, 3]])
    assert torch.equal(book.words_for(torch.tensor([[0.7, 0.3]])), rows[[0]])  # .4 from the first, .2 from the second


def test_a_batch_is_quantised_as_its_rows_one_by_one():
    rows = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    whole, single = Book(5, epsilon=0.3), Book(5, epsilon=0.3)
    assert torch.equal(whole.words_for(rows), torch.cat([single.words_for(row.unsqueeze(0)) for row in rows]))


def test_rows_that_were_refused_below_are_no_words():
    base = Prada(delta=1.0, least=10, action="throttle", answered_every=2)
    rows = deployed(ModelGuardS(epsilon=2.0, base=base))(inputs(100))
    answered = rows.sum(dim=1) > 0
    assert 0 < int(answered.sum()) < 100
    assert len(rows[answered].unique(dim=0)) <= 6  # one word for each class
    assert torch.equal(rows.argmax(dim=1)[answered], LinearVictim()(inputs(100)).argmax(dim=1)[answered])
    assert bool((rows[answered].amax(dim=1) > 0.2).all())


def test_without_a_distance_every_row_is_a_word_of_its_own():
    assert torch.equal(deployed(ModelGuardS(epsilon=0.0))(inputs()), LinearVictim()(inputs()))


@pytest.mark.parametrize("defense", [ModelGuardW, ModelGuardS])
@pytest.mark.parametrize("epsilon", [-0.1, 2.1])
def test_a_distance_that_no_two_rows_have_is_a_bad_parameter(defense, epsilon):
    with pytest.raises(BadParameter, match="apart"):
        defense(epsilon=epsilon)
