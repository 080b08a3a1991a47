import pytest
import torch

from arena.attacks.half_argmax import HalfArgmax, mixed
from arena.attacks.knockoff import KnockoffNets
from arena.contracts import BadParameter
from tests.attacks.toy import VICTIMS, ToyOracle, digest, play


def test_a_mixture_by_hand():
    # square roots of .64, .25 and .11 softened by 2: .8, .5, .3317 over their sum 1.6317
    rows = mixed(torch.tensor([[0.64, 0.25, 0.11]]), share=0.5, temperature=2.0)
    assert rows[0].tolist() == pytest.approx([0.5 + 0.4 / 1.6317, 0.25 / 1.6317, 0.1658 / 1.6317], abs=1e-4)


def test_refused_rows_stay_zero_and_others_sum_to_one():
    rows = mixed(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), share=0.5, temperature=4.0)
    assert rows[0].tolist() == [0.0, 0.0]
    assert float(rows[1].sum()) == pytest.approx(1)


def test_the_whole_share_is_the_argmax_and_none_of_it_at_temperature_one_the_answer():
    released = torch.tensor([[0.2, 0.5, 0.3]])
    assert mixed(released, share=1.0, temperature=4.0).tolist() == [[0.0, 1.0, 0.0]]
    assert mixed(released, share=0.0, temperature=1.0)[0].tolist() == pytest.approx([0.2, 0.5, 0.3])


def test_the_base_trains_on_the_mixture():
    def softened(inputs):
        return mixed(VICTIMS["softmax_victim"](inputs), share=0.5, temperature=4.0)

    base = KnockoffNets(steps=20)
    wrapped = play(HalfArgmax(base=base), ToyOracle(VICTIMS["softmax_victim"], 60))
    assert digest(wrapped) == digest(play(base, ToyOracle(softened, 60)))


@pytest.mark.parametrize("fields", [{"share": 1.5}, {"temperature": 0.0}])
def test_a_share_is_a_share_and_a_temperature_is_positive(fields):
    with pytest.raises(BadParameter, match="between 0 and 1"):
        HalfArgmax(base=KnockoffNets(), **fields)
