import pytest
import torch

from arena.attacks.argmax import Argmax
from arena.attacks.averaging import Averaging, averaged
from arena.attacks.knockoff import KnockoffNets
from arena.contracts import BadParameter
from arena.learning.randomness import keyed_normal
from tests.attacks.toy import TABLE, VICTIMS, ToyOracle, digest, play

QUICK = KnockoffNets(steps=5)
CLEAN = VICTIMS["softmax_victim"]


def noisy():
    """Zero-mean noise that neither depends on the input nor is clipped."""
    random = torch.Generator().manual_seed(0)
    return lambda inputs: CLEAN(inputs) + 0.2 * torch.randn(len(inputs), 3, generator=random)


def keyed(inputs):
    rows = CLEAN(inputs).log() + 2 * keyed_normal(inputs, 3, key=4)
    return rows.softmax(dim=1)


def test_means_by_hand():
    values = torch.tensor([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]])
    row, heard = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, False, True])
    assert torch.allclose(averaged(values, row, heard, rows=3), torch.tensor([[0.3, 0.7], [0.5, 0.5], [0.0, 0.0]]))
    odds = averaged(values, row, heard, rows=3, space="logits")[0]
    assert float(odds[1] / odds[0]) == pytest.approx((0.8 / 0.2 * 0.6 / 0.4) ** 0.5)


@pytest.mark.parametrize("space", ["probabilities", "logits"])
def test_a_row_of_which_nothing_was_heard_stays_zero(space):
    found = averaged(torch.full((2, 3), 1 / 3), torch.tensor([1, 1]), torch.tensor([True, False]), rows=2, space=space)
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].tolist() == pytest.approx([1 / 3] * 3)


def test_sixteen_copies_divide_unclipped_noise_by_about_four():
    random = torch.Generator().manual_seed(1)
    clean = torch.full((300, 10), 0.1)
    noise = 0.2 * torch.randn(300 * 16, 10, generator=random)
    row = torch.arange(300).repeat_interleave(16)
    mean = averaged(clean[row] + noise, row, torch.ones(300 * 16, dtype=torch.bool), rows=300)
    once, often = ((rows - clean).abs().sum(dim=1).mean() for rows in (clean + noise[::16], mean))
    assert float(once / often) >= 3.5


def test_an_answer_that_never_changes_is_probed_and_then_asked_once():
    oracle, plain = ToyOracle(CLEAN, 300), ToyOracle(CLEAN, 276)
    play(Averaging(base=QUICK), oracle)
    play(QUICK, plain)
    assert [len(call) for call in oracle.calls] == [8, 8, 8, 276]
    assert oracle.remaining == 0


def test_fresh_noise_is_averaged_over_equal_copies_and_the_rest_goes_to_the_first_rows():
    oracle = ToyOracle(noisy(), 301)
    play(Averaging(base=QUICK), oracle)
    assert [len(call) for call in oracle.calls] == [8, 8, 285]
    _, copies = oracle.calls[2].unique(dim=0, return_counts=True)
    assert sorted(copies.tolist()) == [4] * 70 + [5]


def test_noise_that_follows_the_input_is_averaged_over_moved_copies():
    oracle = ToyOracle(keyed, 300)
    play(Averaging(base=QUICK), oracle)
    assert [len(call) for call in oracle.calls] == [8, 8, 8, 276]
    copies = oracle.calls[3].reshape(69, 4, 6)
    assert len(copies.flatten(0, 1).unique(dim=0)) == 276
    assert 0 < float((copies - copies.mean(dim=1, keepdim=True)).abs().max()) < 0.06


def test_a_budget_that_a_probe_would_eat_up_is_left_to_the_base():
    probed, plain = ToyOracle(noisy(), 239), ToyOracle(noisy(), 239)
    assert digest(play(Averaging(base=QUICK), probed)) == digest(play(QUICK, plain))


def test_copies_of_labels_become_votes():
    random = torch.Generator().manual_seed(3)

    def labels(inputs):
        rows = CLEAN(inputs) + 0.3 * torch.randn(len(inputs), 3, generator=random)
        return torch.nn.functional.one_hot(rows.argmax(dim=1), 3).float()

    heard = []

    class Listening(KnockoffNets):
        def extract(self, oracle, context, *, rng):
            heard.append(oracle.query(context.pool[:20]).posteriors)
            return super().extract(oracle, context, rng=rng)

    play(Averaging(base=Listening(steps=5)), ToyOracle(labels, 300))
    assert set((heard[0] * 4).flatten().tolist()) <= {0, 1, 2, 3, 4}
    assert float(heard[0].max(dim=1).values.min()) < 1


def test_averages_of_noisy_answers_have_the_right_argmax_more_often():
    random = torch.Generator().manual_seed(5)
    inputs = torch.rand(400, *TABLE.shape, generator=random)
    clean = CLEAN(inputs)
    row = torch.arange(400).repeat_interleave(16)
    clipped = (clean[row] + 0.4 * torch.randn(6400, 3, generator=random)).clamp(min=0)
    mean = averaged(clipped, row, torch.ones(6400, dtype=torch.bool), rows=400)
    once, often = ((rows.argmax(1) == clean.argmax(1)).float().mean() for rows in (clipped[::16], mean))
    assert float(often) > float(once) + 0.1


def test_explained_copies_are_paid_for_and_their_maps_averaged():
    oracle = ToyOracle(noisy(), 300, explanation="maps", explanation_price=2)

    class Explained(KnockoffNets):
        def extract(self, oracle, context, *, rng):
            answer = oracle.query(context.pool[: oracle.remaining // 3], explain=True)
            assert torch.allclose(answer.explanations, context.pool[: len(answer.explanations)])
            assert oracle.remaining == 284 // 4 - 3 * len(answer.explanations)
            return super().extract(oracle, context, rng=rng)

    play(Averaging(base=Explained(steps=5)), oracle)
    assert oracle.remaining == 0


def test_composes_inside_and_outside_of_another_wrapper():
    for attack in (Argmax(base=Averaging(base=QUICK)), Averaging(base=Argmax(base=QUICK))):
        oracle = ToyOracle(noisy(), 300)
        play(attack, oracle)
        assert oracle.remaining == 0


def test_no_copies_are_a_bad_parameter():
    with pytest.raises(BadParameter, match="repeats"):
        Averaging(base=QUICK, repeats=0)
