from __future__ import annotations

from dataclasses import replace

import torch

from arena.contracts import Count, MatchResult, Spec
from arena.contracts.flags import NO_CONTROL
from arena.contracts.scores import CONTROL, clone_count
from arena.match.control import control_fidelity, exchanged_classes
from arena.match.preparation import prepare
from arena.match.site import Site
from arena.payoff.matrix import brought_along, own_score, payoff
from arena.registry import build_defense
from tests.players import MATCHUP, Matches

PATIENT = replace(MATCHUP, attack=Spec(name="knockoff", params=(("steps", 200),)), budget=200)


def test_no_class_keeps_its_name_and_every_name_is_used():
    for classes in (2, 3, 10):
        order = exchanged_classes(classes, rng=torch.Generator().manual_seed(classes))
        assert sorted(order.tolist()) == list(range(classes))
        assert not bool((order == torch.arange(classes)).any())


def test_answers_that_name_other_classes_teach_an_honest_attack_less_than_chance(matches: Matches, site: Site):
    defense = build_defense(PATIENT.defense)
    control = control_fidelity(PATIENT, defense, prepare(PATIENT, defense, site), site)
    assert control is not None
    result = matches.result(PATIENT)
    assert control.share < 0.1 < result.counts[clone_count("b", "fidelity")].share
    assert brought_along(replace(result, counts={**result.counts, CONTROL: control})) == 0.0


def with_counts(result: MatchResult, **shares: int) -> MatchResult:
    """A result with these fidelities in percent; ``control`` is that of the control."""
    named = {clone_count(track.replace("_", "-"), "fidelity"): Count(hits, 100) for track, hits in shares.items()}
    control = {CONTROL: Count(shares["control"], 100)} if "control" in shares else {}
    named.pop(clone_count("control", "fidelity"), None)
    return replace(result, counts={**named, **control})


def test_only_the_gain_over_the_control_counts(matches: Matches):
    result = matches.result(MATCHUP)
    honest = with_counts(result, floor=10, a=40, b=60, control=8)
    shipped = with_counts(result, floor=10, a=40, b=90, control=90)
    assert (own_score(honest), payoff(honest)) == (0.6, 0.6)
    assert own_score(shipped) is not None
    assert abs((own_score(shipped) or 0.0) - 0.1) < 1e-9
    assert payoff(shipped) == 0.4
    assert NO_CONTROL not in result.flags
