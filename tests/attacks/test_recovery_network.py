import pytest
import torch

from arena.attacks.knockoff import KnockoffNets
from arena.attacks.recovery_network import RecoveryNet, RecoveryNetwork
from arena.contracts import Spec
from arena.defenses.none import NoDefense
from arena.defenses.reverse_sigmoid import ReverseSigmoid, perturbed
from arena.defenses.rounding import Rounding
from arena.registry import build_attack
from tests.attacks.toy import ToyOracle, context, l1, rows
from tests.defenses.toy import LinearVictim, deployed

VICTIM = LinearVictim(scale=8.0)


def test_a_network_that_learnt_no_difference_returns_the_row():
    network = RecoveryNet(6, hidden=8)
    torch.nn.init.zeros_(network.difference[-1].weight)
    torch.nn.init.zeros_(network.difference[-1].bias)
    clean = rows(20).clamp(min=1e-3)
    clean = clean / clean.sum(dim=1, keepdim=True)
    assert torch.allclose(network(clean).softmax(dim=1), clean, atol=1e-5)


def test_a_network_halves_what_a_reverse_sigmoid_bent_on_rows_of_another_temperature():
    def defended(clean):
        return perturbed(clean, beta=1.0, gamma=0.1).float()

    attack, clean, fresh = (
        RecoveryNetwork(base=KnockoffNets(), iterations=1500),
        rows(6_000),
        rows(500, seed=1, heat=1.3),
    )
    undo = attack.undoing(defended(clean), clean, context(VICTIM.task), rng=torch.Generator().manual_seed(0))
    found = undo(defended(fresh))
    assert l1(found, fresh) <= 0.5 * l1(defended(fresh), fresh)
    assert float((found.argmax(dim=1) == fresh.argmax(dim=1)).float().mean()) >= 0.95


@pytest.mark.parametrize("defense", [NoDefense(), ReverseSigmoid(beta=1.0, gamma=0.1)])
def test_no_argmax_is_changed_with_no_defense_or_one_that_keeps_it(defense):
    heard = []

    class Listening(KnockoffNets):
        def extract(self, oracle, context, *, rng):
            asked = context.pool[:200]
            heard.append((asked, oracle.query(asked).posteriors))
            return super().extract(oracle, context, rng=rng)

    guesses = (Rounding(decimals=1), ReverseSigmoid(beta=1.0, gamma=0.1))
    attack = RecoveryNetwork(base=Listening(steps=5), steps=5, steps_inner=400, guesses=guesses, iterations=300)
    oracle = ToyOracle(deployed(defense, victim=VICTIM), 500, VICTIM.task)
    attack.extract(oracle, context(VICTIM.task), rng=torch.Generator().manual_seed(0))
    asked, found = heard[0]
    assert torch.equal(found.argmax(dim=1), deployed(defense, victim=VICTIM)(asked).argmax(dim=1))
    assert l1(found, VICTIM(asked)) <= 0.7 * l1(deployed(defense, victim=VICTIM)(asked), VICTIM(asked))


@pytest.mark.parametrize("name", ["recovery-network", "recovery-table"])
def test_knows_a_list_of_defenses_unless_it_is_given_another(name):
    base = Spec(name="knockoff")
    known = build_attack(Spec(name=name, params=(("base", base),))).guesses
    given = build_attack(Spec(name=name, params=(("base", base), ("guesses", (Spec(name="rounding"),))))).guesses
    assert len(known) > 5
    assert given == (Rounding(),)
