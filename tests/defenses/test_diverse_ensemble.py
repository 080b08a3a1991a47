from dataclasses import replace

import pytest
import torch

from arena.contracts import BadParameter, QueryBatch
from arena.defenses.diverse_ensemble import DiverseEnsemble, agreement_loss, answers, coherence, selector
from arena.defenses.parts.defender_networks import network_like_victim, restored
from arena.learning.training import fit, one_hot, predict
from tests.defenses.toy import context, inputs

ROWS = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])  # three members, one row


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(rows=300, seed=0):
    """Smooth images: four random corners, interpolated."""
    corners = torch.rand(rows, 1, 2, 2, generator=rng(seed))
    return torch.nn.functional.interpolate(corners, size=(14, 14), mode="bilinear", align_corners=True)


def test_loss_and_coherence_by_hand():
    assert float(agreement_loss(ROWS)) == pytest.approx(1.620621, abs=1e-6)
    assert coherence(ROWS).tolist() == pytest.approx([0.5**0.5])
    assert float(agreement_loss(torch.eye(3).unsqueeze(1))) == pytest.approx(1.098612, abs=1e-6)
    assert float(agreement_loss(ROWS[2:].expand(4, 1, 2))) == pytest.approx(1 + torch.tensor(6.0).log().item())


def test_each_row_is_answered_by_its_member_in_order():
    members = [network_like_victim(context(), rng=rng(seed)).eval() for seed in range(3)]
    asked, chosen = inputs(20), torch.arange(20) % 3
    rows = answers(members, asked, chosen)
    for number, member in enumerate(members):
        assert torch.allclose(rows[chosen == number], predict(member, asked)[chosen == number], atol=1e-6)
    order = torch.randperm(20, generator=rng())
    assert torch.equal(answers(members, asked[order], chosen[order]), rows[order])


@pytest.mark.parametrize("selection", ["coarse", "bytes"])
@pytest.mark.parametrize("members", [3, 5])
def test_benign_inputs_are_shared_out_evenly(selection, members):
    choose = selector(selection, members, images(2000), rng=rng())
    counts = choose(images(5000, seed=1)).bincount(minlength=members)
    assert float((counts * members / 5000 - 1).abs().max()) < 0.2


@pytest.mark.parametrize("selection", ["coarse", "bytes"])
def test_an_equal_input_has_an_equal_member_whatever_else_is_asked(selection):
    choose, asked = selector(selection, 5, images(), rng=rng()), images(50, seed=2)
    assert torch.equal(torch.cat([choose(part) for part in asked.split(7)]), choose(asked))
    assert not torch.equal(selector(selection, 5, images(), rng=rng(1))(asked), choose(asked))


def test_one_level_of_a_pixel_moves_the_bytes_and_hardly_ever_the_coarse_hash():
    asked = images(400, seed=3).mul(255).round().div(255)
    moved = asked.clone()
    moved[:, 0, 5, 5] += torch.where(moved[:, 0, 5, 5] > 0.5, -1, 1) / 255
    changed = {
        selection: float((choose(asked) != choose(moved)).float().mean())
        for selection, choose in ((name, selector(name, 5, images(), rng=rng())) for name in ("coarse", "bytes"))
    }
    assert changed["bytes"] > 0.7  # 4 in 5
    assert changed["coarse"] < 0.05


def test_noise_that_the_wire_rounds_away_moves_no_hash():
    choose, asked = selector("bytes", 5, images(), rng=rng()), images(50).mul(255).round().div(255)
    assert torch.equal(choose(asked), choose((asked + 1e-4).clamp(max=1)))


def test_members_agree_on_the_defenders_data_and_disagree_on_outliers():
    here = context()
    found = {}
    for diversity in (0.0, 3.0):
        defense = DiverseEnsemble(members=3, diversity=diversity, steps=300)
        state = defense.train(here, rng=rng())
        members = [restored(state, f"member-{number}", here) for number in range(3)]
        found[diversity] = [
            float(coherence(torch.stack([predict(member, rows) for member in members])).mean())
            for rows in (here.training[0], here.outliers)
        ]
    assert found[3.0][0] > 0.85
    assert found[3.0][1] < 0.6 < found[0.0][1]


def test_one_member_without_outliers_is_an_ordinary_model():
    here = replace(context(), outliers=None)
    state = DiverseEnsemble(members=1, steps=20).train(here, rng=rng(4))
    source = rng(4)
    plain = network_like_victim(here, rng=source)
    draws = [torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=source))) for _ in range(2)]
    fit(plain, here.training[0], one_hot(here.training[1], 6), steps=20, rng=draws[1])
    alone = restored(state, "member-0", here)
    assert torch.allclose(predict(alone, inputs()), predict(plain, inputs()), atol=1e-5)


def test_another_match_has_another_secret():
    here, defense = context(), DiverseEnsemble(members=4, steps=3)
    state = defense.train(here, rng=rng())
    rows = [defense.deploy(here, state, rng=rng(seed))(QueryBatch(inputs=inputs())).posteriors for seed in (0, 0, 1)]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


@pytest.mark.parametrize("fields", [{"members": 0}, {"diversity": -0.1}, {"steps": 0}])
def test_values_that_make_no_sense_are_bad_parameters(fields):
    with pytest.raises(BadParameter, match=next(iter(fields))):
        DiverseEnsemble(**fields)
