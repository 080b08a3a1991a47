import math
from dataclasses import replace

from arena.contracts import Verdict
from arena.report.incidents import incidents
from arena.report.record import RunRecord
from tests.payoff.matches import CRASHED, match


def of(*results, **terms):
    return incidents(RunRecord(name="small", results=results, **terms))


def test_matches_of_one_cell_are_one_incident_with_its_seeds():
    (failed,) = of(*(match("maze", seed=seed, verdict=CRASHED) for seed in (3, 1))).failed
    assert (failed.attack, failed.defense, failed.seeds) == ("maze", "none", (1, 3))
    assert failed.what == "infrastructure in stage play, fault: arena: the node went away"
    assert failed.consequence == "missing from every table"


def test_what_follows_depends_on_whose_fault_it_was():
    faults = [Verdict(outcome="crashed", fault=fault, reason=fault) for fault in ("attack", "defense")]
    found = of(*(match(seed=seed, verdict=verdict) for seed, verdict in enumerate(faults))).failed
    assert {one.what: one.consequence for one in found} == {
        "crashed, fault: attack: attack": "scored by what the referee's clones learn from its answers",
        "crashed, fault: defense: defense": "scored as if there were no defense",
    }


def test_planned_matches_without_a_result_are_named():
    found = of(match(), missing=(match("maze", seed=4).matchup,))
    assert found.matches_missing == 1
    assert found.missing[0].seeds == (4,)


def test_budgets_that_were_not_spent_and_flags_are_listed():
    early = match(measures={"attack/unspent": 30.0}, flags=("timed",))
    found = of(early, match(seed=1, measures={"attack/unspent": 0.0}))
    assert [one.seeds for one in found.stopped_early] == [(0,)]
    assert [(one.what, one.seeds) for one in found.flagged] == [("timed", (0,))]


def test_values_that_are_not_finite_are_named():
    (found,) = of(replace(match(), measures={"utility/l1": math.nan, "utility/ece": 0.1})).not_finite
    assert found.what == "utility/l1 is not finite"
