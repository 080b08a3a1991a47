from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from torch import Generator, nn

from arena.contracts import Attack, AttackContext, DefenseContext, Oracle, Responder, State, Verdict
from arena.contracts.facts import unnoted
from arena.defenses.none import NoDefense
from arena.learning.architectures import build
from arena.match.facts import MOST_FACTS, Facts
from arena.match.play import play
from arena.match.site import Site
from arena.referee.settlement import scored_as
from tests.players import MATCHUP


@dataclass(frozen=True, kw_only=True)
class StatingAttack(Attack):
    """Says how many rows it asked."""

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        oracle.query(context.pool[:7])
        context.note("rows_asked", 7)
        return build("linear", oracle.task, rng=rng)


@dataclass(frozen=True, kw_only=True)
class StatingDefense(NoDefense):
    """Says where its threshold lies."""

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        context.note("threshold", 0.25)
        return super().deploy(context, state, rng=rng)


def test_what_players_state_stands_in_the_result(site: Site):
    result = play(MATCHUP, attack=StatingAttack(), defense=StatingDefense(), site=site)
    assert result.measures["attack/fact/rows_asked"] == 7.0  # type: ignore[index]  # a name by its text
    assert result.measures["defense/fact/threshold"] == 0.25  # type: ignore[index]


def test_a_faulty_defense_keeps_its_own_facts(site: Site):
    result = play(MATCHUP, attack=StatingAttack(), defense=StatingDefense(), site=site)
    verdict = Verdict(outcome="crashed", fault="defense", stage="play")
    stand_in = play(MATCHUP, attack=StatingAttack(), defense=NoDefense(), site=site)
    settled = scored_as(replace(result, verdict=verdict), stand_in)
    assert settled.measures["defense/fact/threshold"] == 0.25  # type: ignore[index]


def test_the_last_number_of_a_name_counts():
    facts = Facts("attack")
    for value in (1.0, 2.0):
        facts.note("distance", value)
    assert facts.measures == {"attack/fact/distance": 2.0}


@pytest.mark.parametrize(("name", "value"), [("", 1.0), ("Rows", 1.0), ("a/b", 1.0), ("a" * 49, 1.0), ("a", math.nan)])
def test_refuses_what_no_reader_could_use(name: str, value: float):
    with pytest.raises(ValueError, match="is no fact"):
        Facts("defense").note(name, value)


def test_refuses_more_facts_than_a_reader_would_read():
    facts = Facts("attack")
    for number in range(MOST_FACTS):
        facts.note(f"fact_{number}", number)
    facts.note("fact_0", 5.0)
    with pytest.raises(ValueError, match="state at most 16"):
        facts.note("another", 1.0)


def test_nothing_happens_where_no_result_is_made():
    unnoted("anything at all", math.nan)
