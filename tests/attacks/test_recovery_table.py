from dataclasses import replace

import pytest
import torch

from arena.attacks.argmax import Argmax
from arena.attacks.knockoff import KnockoffNets
from arena.attacks.recovery_table import RecoveryTable, looked_up
from arena.contracts import BadParameter
from arena.defenses.reverse_sigmoid import ReverseSigmoid, perturbed
from arena.defenses.rounding import Rounding, rounded
from tests.attacks.toy import ToyOracle, context, l1, rows
from tests.defenses.toy import LinearVictim, deployed

VICTIM = LinearVictim(scale=8.0)


def test_a_look_up_by_hand():
    defended = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6]])
    clean = torch.tensor([[0.95, 0.05], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    found = looked_up(torch.tensor([[0.65, 0.35]]), defended, clean, neighbours=2, reach=0.1)
    assert found.tolist() == [pytest.approx([0.75, 0.25])]


def test_a_row_that_no_entry_is_near_stays_as_it_is():
    table = rows(100)
    impossible = torch.eye(6)[:1]
    assert torch.equal(looked_up(impossible, 0.9 * table + 1 / 60, table, neighbours=5, reach=0.01), impossible)


def test_entries_of_another_argmax_do_not_count():
    defended, clean = torch.tensor([[0.49, 0.51], [0.8, 0.2]]), torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    row = torch.tensor([[0.51, 0.49]])
    assert torch.equal(looked_up(row, defended, clean, neighbours=1, reach=0.1), row)
    assert looked_up(row, defended, clean, neighbours=1, reach=1.0).tolist() == [pytest.approx([0.9, 0.1])]


def test_undoing_nothing_changes_little():
    table, fresh = rows(20_000), rows(200, seed=1)
    assert l1(looked_up(fresh, table, table, neighbours=5, reach=0.1), fresh) < 0.06


def test_all_that_rounds_to_a_row_count_alike():
    table = rows(5_000)
    turned = rounded(table, 1).float()
    found = looked_up(turned[:50], turned, table, neighbours=1, reach=0.0)
    for number in range(50):
        alike = (turned == turned[number]).all(dim=1)
        assert torch.allclose(found[number], table[alike].mean(dim=0), atol=1e-5)
    assert torch.equal(found.argmax(dim=1), turned[:50].argmax(dim=1))


def test_a_known_map_is_undone_to_well_below_half_of_what_it_bent():
    def defended(clean):
        return perturbed(clean, beta=1.0, gamma=0.1).float()

    table, fresh = rows(10_000), rows(300, seed=1, heat=1.1)
    found = looked_up(defended(fresh), defended(table), table, neighbours=5, reach=0.1)
    assert l1(found, fresh) <= 0.4 * l1(defended(fresh), fresh)


@pytest.mark.parametrize("informed", [False, True])
def test_the_base_is_told_nearly_clean_rows(informed):
    defense, heard = ReverseSigmoid(beta=1.0, gamma=0.1), []

    class Listening(KnockoffNets):
        def extract(self, oracle, context, *, rng):
            asked = context.pool[:200]
            heard.append((asked, oracle.query(asked).posteriors))
            return super().extract(oracle, context, rng=rng)

    guesses = () if informed else (Rounding(decimals=1), defense)
    attack = RecoveryTable(base=Listening(steps=5), steps=5, steps_inner=400, guesses=guesses)
    oracle = ToyOracle(deployed(defense, victim=VICTIM), 500, VICTIM.task)
    terms = replace(context(VICTIM.task), simulated=defense if informed else None)
    attack.extract(oracle, terms, rng=torch.Generator().manual_seed(0))
    asked, found = heard[0]
    assert l1(found, VICTIM(asked)) <= 0.5 * l1(deployed(defense, victim=VICTIM)(asked), VICTIM(asked))
    assert oracle.remaining == 0


def test_composes_with_argmax_in_either_order():
    for attack in (
        Argmax(base=RecoveryTable(base=KnockoffNets(steps=5), steps=5, guesses=(Rounding(),))),
        RecoveryTable(base=Argmax(base=KnockoffNets(steps=5)), steps=5, guesses=(Rounding(),)),
    ):
        oracle = ToyOracle(deployed(Rounding(), victim=VICTIM), 100, VICTIM.task)
        attack.extract(oracle, context(VICTIM.task), rng=torch.Generator().manual_seed(0))
        assert oracle.remaining == 0


def test_no_neighbour_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="neighbours"):
        RecoveryTable(base=KnockoffNets(), neighbours=0)
