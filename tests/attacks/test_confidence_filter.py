import pytest
import torch

from arena.attacks.confidence_filter import ConfidenceFilter, lower_component, most_certain
from arena.attacks.knockoff import KnockoffNets
from arena.contracts import BadParameter
from arena.learning.architectures import build
from arena.learning.tensors import row_digests
from arena.learning.training import predict
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, context, play

QUICK = KnockoffNets(steps=5)


def confident(inputs):
    """An honest victim, skewed towards 1 as a trained network is."""
    return (4 * VICTIMS["softmax_victim"](inputs).log()).softmax(dim=1)


def untruthful(inputs):
    return inputs[:, 0] > 0.5


def half_wrong(inputs):
    """Truthful for half of the pool, one wrong class with little confidence for the other."""
    rows = confident(inputs)
    lies = torch.full_like(rows, 0.31)
    lies[:, 0] = 0.38
    return torch.where(untruthful(inputs).unsqueeze(1), lies, rows)


class Listening(KnockoffNets):
    """Remembers what it was told."""

    def extract(self, oracle, context, *, rng):
        rows = context.pool[: oracle.remaining]
        self.heard.append((rows, oracle.query(rows)))
        return build("linear", oracle.task, rng=rng).eval()


def listening():
    attack = Listening()
    object.__setattr__(attack, "heard", [])
    return attack


def test_two_kinds_far_apart_are_told_and_one_is_not():
    random = torch.Generator().manual_seed(0)
    low, high = 0.3 + 0.02 * torch.randn(60, generator=random), 0.8 + 0.05 * torch.randn(90, generator=random)
    assert torch.equal(lower_component(torch.cat([low, high]), separation=3.5), torch.arange(150) < 60)
    for one in (high, torch.rand(500, generator=random), torch.rand(500, generator=random) ** 0.2, torch.ones(9)):
        assert not bool(lower_component(one, separation=3.5).any())


def test_the_distance_of_two_kinds_by_hand():
    # Means 0.2 and 0.8, deviations 0.1 each: D = sqrt(2) * 0.6 / sqrt(0.02) = 6.
    values = torch.tensor([0.1, 0.3, 0.7, 0.9])
    assert lower_component(values, separation=5.9).tolist() == [True, True, False, False]
    assert not bool(lower_component(values, separation=6.1).any())


def test_what_looks_dishonest_is_refused():
    attack = listening()
    play(ConfidenceFilter(base=attack, steps=5), ToyOracle(half_wrong, 400))
    ((rows, answer),) = attack.heard
    kept = ~answer.refused
    assert float(untruthful(rows[kept]).float().mean()) <= 0.1
    assert float(untruthful(rows[~kept]).float().mean()) >= 0.9
    assert not bool(answer.posteriors[answer.refused].any())


@pytest.mark.parametrize("victim", [confident, *VICTIMS.values()])
def test_of_an_honest_oracle_nothing_is_dropped(victim):
    attack = listening()
    play(ConfidenceFilter(base=attack, steps=5), ToyOracle(victim, 400))
    assert not bool(attack.heard[0][1].refused.any())


def test_the_second_half_goes_to_unasked_rows_that_the_clone_is_sure_of():
    oracle = ToyOracle(half_wrong, 200)
    play(ConfidenceFilter(base=KnockoffNets(steps=200), steps=5), oracle)
    assert [len(call) for call in oracle.calls] == [100, 100]
    assert len(set(oracle.digests)) == 200
    assert set(oracle.digests) <= set(row_digests(context().pool))


def test_the_surest_rows_by_hand():
    clone = build("linear", TABLE, rng=torch.Generator().manual_seed(0)).eval()
    rows = torch.rand(30, 6, generator=torch.Generator().manual_seed(1))
    found = most_certain(clone, rows, rows=5, rng=torch.Generator().manual_seed(2))
    best = predict(clone, rows).amax(dim=1).sort(descending=True).values
    assert torch.allclose(predict(clone, found).amax(dim=1), best[:5])
    assert len(most_certain(clone, rows, rows=50, rng=torch.Generator().manual_seed(2))) == 30


def test_few_rows_tell_nothing():
    attack = listening()
    play(ConfidenceFilter(base=attack, steps=5), ToyOracle(half_wrong, 398))
    assert not bool(attack.heard[0][1].refused.any())


def test_no_second_half_leaves_the_budget_to_the_base():
    oracle = ToyOracle(half_wrong, 100)
    play(ConfidenceFilter(base=QUICK, second=0.0, steps=5), oracle)
    assert [len(call) for call in oracle.calls] == [100]


def test_all_of_the_budget_for_the_second_half_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="second"):
        ConfidenceFilter(base=QUICK, second=1.0)
