from dataclasses import replace

from arena.contracts import MatchResult, Spec
from arena.report.tables import tournament_report
from tests.payoff.matches import match
from tests.report.test_tables import line_of, shown

DROPS = {
    "explanation/average_drop_own": 0.30,
    "explanation/drop_deviation_own": 0.11,
    "explanation/average_drop": 0.42,
    "explanation/drop_deviation": 0.22,
    "explanation/drop_difference": 0.12,
    "explanation/drop_low": 0.08,
    "explanation/drop_high": 0.16,
    "explanation/drop_p_different": 1e-6,
    "explanation/drop_p_equivalent": 0.93,
}


def explained(*, seed: int, attack: str = "knockoff", **measures: float) -> MatchResult:
    """A match in which 7 of 200 test images moved."""
    found = match(
        attack=attack,
        seed=seed,
        counts={"explanation/moved": (7, 200), "explanation/blank": (5, 193)},
        measures={**DROPS, **measures},
    )
    return replace(found, matchup=replace(found.matchup, explanation=Spec(name="grad-cam")))


def test_the_drops_of_served_maps_stand_beside_the_victims_own():
    text = shown(tournament_report([explained(seed=0), explained(seed=0, attack="jbda")]))
    table = text[text.index("Explanations that are served") :]
    row = "none grad-cam 30.0 ±11.0 42.0 ±22.0 +12.0 < 0.0001 0.9300 7 of 200 5 of 193"
    assert line_of(table, "none") == row.split()
    assert line_of(table, "+8.0") == ["+8.0", "to", "+16.0"]


def test_the_largest_p_of_all_seeds_is_shown():
    surprising = {"explanation/drop_p_different": 0.2}
    text = shown(tournament_report([explained(seed=0), explained(seed=1, **surprising)]))
    row = line_of(text[text.index("Explanations that are served") :], "none")
    assert row[-8:] == ["0.2000", "0.9300", "14", "of", "400", "10", "of", "386"]


def test_without_explanations_there_is_no_such_table():
    assert "Explanations that are served" not in shown(tournament_report([match()]))


def test_r_test_and_r_unif_are_those_of_the_best_track():
    counts = {"a/fidelity": (900, 1_000), "a/fidelity_unif": (4_000, 10_000)}
    measures = {"a/tv_test": 0.15, "a/tv_unif": 0.7}
    results = [match(fidelity=800, seed=seed, counts=counts, measures=measures) for seed in range(2)]
    text = shown(tournament_report(results))
    row = line_of(text[text.index("What the best clones get wrong") :], "knockoff")
    assert row == ["knockoff", "none", "a", "10.0", "15.0", "60.0", "70.0"]
