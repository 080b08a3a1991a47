import pytest
import torch

from arena.contracts import BadParameter, Spec, Task
from arena.learning.architectures import build
from arena.learning.memorised import Encoding
from arena.match.site import Site
from arena.match.victims import load_splits, load_victim
from arena.threats.memorisation import Memorisation, right_bits
from tests.attacks.toy import ToyOracle
from tests.threats.toy import threat_context

TASK = Task(shape=(1, 4, 4), classes=10)
ENCODING = Encoding(shape=TASK.shape, classes=TASK.classes)


def hidden(rows=3):
    return torch.rand(rows, *TASK.shape, generator=torch.Generator().manual_seed(0))


def remembering(inputs):
    """A victim that has learned every made-up input of three rows, and says 0 otherwise."""
    carried = dict(
        zip(map(bytes, ENCODING.inputs(3).flatten(1).byte().numpy()), ENCODING.labels(hidden()), strict=True)
    )
    labels = [int(carried.get(bytes(row), 0)) for row in inputs.flatten(1).byte().numpy()]
    return torch.eye(TASK.classes)[labels]


def assessed(victim, *, rows=3, budget=1_000):
    clone = build("mlp", TASK, rng=torch.Generator().manual_seed(0)).eval()
    oracle = ToyOracle(victim, budget, TASK)
    context = threat_context(hidden(), torch.arange(3))
    found = Memorisation(rows=rows).assess(clone, oracle, context, rng=torch.Generator().manual_seed(0))
    return found, oracle


def test_a_victim_that_remembers_gives_every_bit_away():
    found, oracle = assessed(remembering)
    assert found.counts["bits"] == (3 * 64, 3 * 64)
    assert found.measures["error"] <= 0.5 / 15
    assert oracle.spent == 2 * 3 * ENCODING.carriers
    assert found.grid.shape == (3, 3, 1, 4, 4)


def test_controls_are_near_chance():
    found, _ = assessed(remembering)
    for control in ("control/bits", "clone/bits"):
        assert 0.3 < found.counts[control].share < 0.7
    assert found.measures["control/error"] > 0.2


def test_a_small_budget_rebuilds_fewer_rows_and_none_rebuilds_nothing():
    found, oracle = assessed(remembering, budget=2 * ENCODING.carriers + 1)
    assert found.counts["bits"] == (64, 64)
    assert oracle.remaining == 1
    assert assessed(remembering, budget=3)[0].counts == {}


def test_right_bits_by_hand():
    # 5 is 0101 and 7 is 0111: one bit of eight is wrong
    assert right_bits(torch.tensor([[5 / 15, 1.0]]), torch.tensor([[7 / 15, 1.0]])) == (7, 8)


def test_one_class_cannot_carry_a_bit():
    with pytest.raises(BadParameter, match="1 class"):
        Memorisation().min_budget(Task(shape=(4,), classes=1))


def test_no_row_cannot_be_rebuilt():
    with pytest.raises(BadParameter, match="at least 1"):
        Memorisation(rows=0)


class TestAVictim:
    def spec(self, **more):
        return Spec(name="digits", params=tuple({"arch": "mlp", **more}.items()))

    def test_that_remembers_carries_the_rows_and_still_classifies(self, site: Site):
        victim = load_victim(self.spec(remembers=1), 0, site)
        encoding = Encoding(shape=victim.task.shape, classes=victim.task.classes)
        splits = load_splits(self.spec(), None)
        row = splits.training[0][:1]
        assert right_bits(encoding.rows(victim(encoding.inputs(1)).argmax(dim=1)), row).share > 0.95
        inputs, labels = splits.test
        assert float((victim(inputs).argmax(dim=1) == labels).float().mean()) > 0.85

    def test_that_remembers_is_another_than_one_that_does_not(self, site: Site):
        inputs = load_splits(self.spec(), None).pool[:20]
        answers = [load_victim(self.spec(remembers=number), 0, site)(inputs) for number in (0, 1)]
        assert not torch.equal(*answers)

    @pytest.mark.parametrize("more", [{"remembers": -1}, {"remembers": 2, "weights": "some.safetensors"}])
    def test_cannot_forget_rows_or_have_them_in_a_file(self, more, site: Site):
        with pytest.raises(BadParameter, match="remembers"):
            load_victim(self.spec(**more), 0, site)
