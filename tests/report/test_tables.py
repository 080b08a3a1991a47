from dataclasses import replace

import pytest
from rich.console import Console

from arena.contracts import Knowledge, Spec, Verdict
from arena.contracts.flags import COST_NOT_RANKED, DETECTOR_CANNOT_FIRE, LEAK, MEANINGS
from arena.payoff.matrix import matrices
from arena.report.match_tables import match_table
from arena.report.sentences import sentences
from arena.report.tables import tournament_report
from tests.payoff.matches import CRASHED, by_image, honest, match, over_seeds
from tests.payoff.test_tradeoff import swept, undefended

WIDTH = 100
KNOCKOFF = Spec(name="knockoff", params=(("steps", 500),))


def shown(renderable) -> str:
    console = Console(width=WIDTH, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def line_of(text: str, beginning: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(beginning))


def small_tournament():
    return [
        *over_seeds("knockoff", "none", [800, 810, 820, 830, 840]),
        *over_seeds("knockoff", "label-only", [700, 710, 720, 730, 740]),
        *over_seeds("jbda", "none", [900, 910, 920, 930, 940]),
        *over_seeds("jbda", "label-only", [600, 610, 620, 630, 640]),
    ]


def test_a_cell_is_a_percentage_with_its_interval():
    text = shown(tournament_report(small_tournament()))
    assert line_of(text, "knockoff") == ["knockoff", "*", "82.0", "±2.0", "72.0", "±2.0", "77.0", "±2.0", "1-2", "-"]
    assert line_of(text, "worst case") == ["worst", "case", "92.0", "72.0"]
    assert line_of(text[text.index("worst case") :], "95 %") == ["95", "%", "89.5-94.0", "69.5-74.0"]
    assert line_of(text, "no queries") == ["no", "queries", "10.0", "10.0"]
    assert line_of(text, "equilibrium") == ["equilibrium", "0", "%", "100", "%"]
    assert line_of(text, "resampled") == ["resampled", "0", "%", "100", "%"]


def test_above_the_tables_stands_what_an_interval_speaks_of():
    text = shown(tournament_report(small_tournament()))
    assert text.startswith("95 % intervals over 5 seeds, for these 1,000 test images and this trained victim;")
    assert text.index("trained victim") < text.index("Fidelity of the best clone")


def test_what_ranks_say_and_resolve_stands_below_them():
    far = over_seeds("maze", "none", [300, 302, 304, 306, 308]) + over_seeds("maze", "label-only", [300] * 5)
    text = " ".join(shown(tournament_report([*small_tournament(), *far])).split())
    assert "all ranks of a group hold simultaneously with 95 % confidence" in text
    assert "the smallest difference that is detected about half of the time is" in text
    assert "points in free, scores kept" in text
    assert line_of(shown(tournament_report([*small_tournament(), *far])), "maze")[-2:] == ["3", "-"]


def test_training_steps_are_shown_for_attack_and_referee():
    measures = {"attack/steps": 4_800.0, "score/steps": 4_000.0}
    results = [match(measures=measures), match(seed=1, measures={"attack/steps": 5_000.0})]
    assert line_of(shown(tournament_report(results)), "knockoff")[-1] == "4,900"
    text = " ".join(shown(match_table(results[0])).split())
    assert "attack's training 4,800 steps, all networks together" in text
    assert "referee's training 4,000 steps, each clone" in text


def test_yardsticks_are_marked():
    text = shown(tournament_report(small_tournament()))
    assert "label-only *" in text
    assert "knockoff *" in text
    assert "jbda *" not in text


def test_few_seeds_are_shown_without_an_interval():
    text = shown(tournament_report(over_seeds("knockoff", "none", [800, 820])))
    assert line_of(text, "knockoff") == ["knockoff", "*", "81.0", "81.0", "-", "-"]
    assert line_of(text, "80.0") == ["80.0", "82.0", "80.0", "82.0"]
    assert text.startswith("2 seeds, which is too few for ranks and tests: values and their means")
    assert line_of(text, "none")[-1] == "-"
    assert "±" not in text.split("What each defense")[0]


def test_an_interval_that_six_cells_share_is_marked():
    results = [one for number in range(6) for one in over_seeds(f"attack-{number}", "none", [800 + number, 820, 810])]
    text = shown(tournament_report(results))
    assert line_of(text, "attack-0")[1].startswith("81.0")
    assert line_of(text, "attack-0")[2].startswith("~")
    assert "~ marks approximate 95 % half-widths from a pooled variance" in " ".join(text.split())


def test_a_missing_cell_is_shown_as_missing_and_its_match_is_listed():
    text = shown(tournament_report([*small_tournament(), match("maze", verdict=CRASHED)]))
    assert line_of(text, "maze")[1] == "missing"
    assert "Matches that did not end well" in text
    assert "the node went away" in text


def test_every_column_is_kept_at_a_hundred_columns_however_many_defenses_there_are():
    names = [f"adaptive-defense-{number}" for number in range(9)]
    knowledge = Knowledge(surrogate="same-architecture", outliers="near")
    results = [
        match(
            "knockoff",
            name,
            seed=seed,
            fidelity=fidelity,
            counts=honest(lost=100, changed=2_000, rows=25_000),
            measures={"utility/l1": 0.3, "utility/brier_cost": 0.02},
            knowledge=knowledge,
            flags=("leak",),
        )
        for name in names
        for seed, fidelity in enumerate([800, 810, 820, 830, 840])
    ]
    text = shown(tournament_report(results))
    assert "…" not in text
    assert all(text.count(name) >= 2 for name in names)
    assert "leak" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_defenses_stand_in_their_division_with_cost_and_rank():
    text = shown(tournament_report([*small_tournament(), *over_seeds("jbda", "mad", [500] * 5, lost=12)]))
    assert text.index("free, scores kept") < text.index("5pt, scores kept")
    assert line_of(text, "mad  ")[1:5] == ["nothing", "1.2", "±0.7", "1.20"]
    assert line_of(text, "~1pt") == ["~1pt", "jbda"]
    assert line_of(text, "label-only *  ")[1:8] == ["*", "nothing", "0.0", "±0.3", "0", "of", "1,000"]


def test_a_cost_whose_images_nobody_recorded_says_so():
    results = [match(counts=honest(lost=0, changed=0))]
    texts = [" ".join(shown(tournament_report(found)).split()) for found in (results, small_tournament())]
    assert ["were not recorded" in text for text in texts] == [True, False]


def test_the_worst_case_of_a_defense_names_its_attack():
    text = shown(tournament_report(small_tournament()))
    assert line_of(text, "none  ")[-3:] == ["92.0", "(89.5-94.0)", "2"]
    assert "jbda" in text[text.index("none  ", text.index("What each defense")) :].splitlines()[1]


def test_blind_and_informed_attacks_have_a_worst_case_each():
    results = [match("recovery", fidelity=700), match("recovery", fidelity=900, informed=True)]
    text = shown(tournament_report(results))
    assert line_of(text, "worst case") == ["worst", "case", "90.0"]
    assert line_of(text, "blind") == ["blind", "70.0"]
    assert line_of(text, "informed") == ["informed", "90.0"]


def test_a_broken_promise_is_a_line():
    results = [match("knockoff", "mad", seed=seed, counts={"promise/argmax_broken": (2, 100)}) for seed in range(2)]
    assert "mad broke its promise of the same decision on 4 of 200 rows." in shown(tournament_report(results))


def test_that_every_promise_was_kept_is_a_line_too():
    results = [match("knockoff", "mad", seed=seed, counts={"promise/argmax_broken": (0, 100)}) for seed in range(2)]
    assert "No promise was broken, checked 200 times" in shown(tournament_report(results))
    assert "promise" not in shown(tournament_report([match("knockoff", "none", counts={})]))


def said(results) -> list[str]:
    (matrix,) = matrices(results)
    return sentences(matrix)


def test_says_what_was_stolen_from_whom_and_what_can_be_told_from_random_queries():
    shows, helps, does_not = said(small_tournament())
    assert "jbda extracts the undefended victim with a fidelity of 92.0 % (89.5-94.0; new images 89.0-94.6)" in shows
    assert "10.0 % for a clone without queries; significantly different from random queries: jbda (+10.0)" in shows
    assert "label-only has the lowest worst case over these attacks, 72.0 % (69.5-74.0; new images 68.3-75.4)" in helps
    assert "attacks that know the defense (none was played)" in does_not


def test_knows_random_queries_whatever_their_parameters():
    shows, *_ = said([match(KNOCKOFF, seed=seed) for seed in range(5)])
    assert "no attack differs significantly from random queries" in shows


def test_says_whether_a_defense_can_be_told_from_labels_alone():
    near = over_seeds("knockoff", "mad", [690, 712, 722, 728, 741])
    far = over_seeds("knockoff", "mad", [290, 312, 322, 328, 341])
    told = "with labels only it is 72.0 % (69.5-74.0; new images 68.3-75.4), a significant difference."
    assert said([*small_tournament(), *far])[1].endswith(told)
    assert said([*small_tournament(), *near])[1].endswith(", not a significant difference.")


def test_a_tournament_without_an_undefended_victim_says_so():
    shows, *_ = said([match(defense="label-only")])
    assert "add the defense none" in shows


def test_one_match_shows_its_scores_with_their_intervals():
    text = shown(match_table(match(counts=honest(lost=1, changed=2), measures={"utility/l1": 0.25})))
    assert "fidelity 80.0 % (77.4-82.4)" in text
    assert "0.1 points of accuracy lost, 2 of 1,000 decisions flipped, mean L1 0.25" in text
    assert "100 of 100 units: 100 rows, 100 distinct, 1 call" in text


def test_one_match_shows_what_its_players_state_about_themselves():
    measures = {"defense/fact/threshold": 0.51, "attack/fact/distance": 0.38, "attack/fact/rows": 12_000.0}
    words = " ".join(shown(match_table(match(measures=measures))).split())
    assert "attack's own facts distance 0.38, rows 12,000 defense's own facts threshold 0.51" in words


def test_a_players_words_are_no_markup():
    verdict = Verdict(outcome="crashed", fault="attack", stage="play", reason="no [bold] here", output="[red]out[/red]")
    text = shown(match_table(match(verdict=verdict)))
    assert "crashed (fault: attack, stage play): no [bold] here" in text
    assert "[red]out[/red]" in text
    assert "no [bold] here" in shown(tournament_report([match(verdict=verdict)]))


def test_a_swept_defense_is_shown_along_its_parameter():
    text = shown(tournament_report([*undefended(), *swept("knockoff", {3: (800, 0), 1: (600, 20)})]))
    assert "Trade-off of each swept defense" in text
    words = "rounding, lowest clone accuracy: 80.2 (80.0-80.4) (decimals = 3) if honest users may lose 0 points"
    assert words in " ".join(text.split())


def test_decisions_that_differ_from_the_victims_are_scored_beside_it():
    counts = {"b/fidelity_deployed": (950, 1_000), "victim/accuracy": (910, 1_000), "deployed/accuracy": (870, 1_000)}
    results = [match(seed=seed, counts=counts) for seed in range(5)]
    text = shown(tournament_report(results))
    table = text[text.index("Defenses that decide otherwise") :]
    assert line_of(table, "none")[-6:] == ["80.0", "±0.0", "95.0", "±0.0", "91.0", "87.0"]
    assert "(to what is served 95.0 % (" in " ".join(shown(match_table(results[0])).split())
    assert "Defenses that decide otherwise" not in shown(tournament_report(small_tournament()))


def test_a_match_says_what_its_defense_serves_right():
    text = shown(match_table(match(counts={"deployed/accuracy": (870, 1_000)})))
    assert "serves 87.0 % right" in text


def test_threats_have_a_table_each_and_a_line_in_the_match():
    counts = {"threat/evasion/0.1/pgd": (30, 100), "threat/evasion/0.1/control": (5, 100)}
    results = [match(seed=seed, counts=counts) for seed in range(5)]
    text = shown(tournament_report(results))
    assert "What threats achieve with the clones" in text
    assert ["knockoff", "none", "5.0", "30.0"] in [line.split() for line in text.splitlines()]
    assert "0.1/pgd 30 of 100" in shown(match_table(results[0]))


def leaky(fidelities: list[int], flag: str):
    return [
        replace(one, flags=(flag,))
        for one in over_seeds("knockoff", "leaky", fidelities) + over_seeds("jbda", "leaky", fidelities)
    ]


@pytest.mark.parametrize(("flag", "reason"), [(LEAK, "leak"), (COST_NOT_RANKED, "too few honest rows")])
def test_a_defense_that_is_not_ranked_is_shown_with_the_reason_and_in_no_headline(flag: str, reason: str):
    text = shown(tournament_report([*small_tournament(), *leaky([100, 110, 120, 130, 140], flag)]))
    assert f"not ranked: {reason}" in text
    assert line_of(text[text.index("not ranked: ") :], "leaky")[-1] == "-"
    assert "label-only has the lowest worst case" in " ".join(text.split())


def wide_tournament():
    """Long names, a swept defense, and a threat with many counts."""
    inner = Spec(name="standardised-logits", params=(("base", Spec(name="knockoff-adaptive")),))
    swept_over = [
        Spec(
            name="gradient-redirection",
            params=(("epsilon", value / 10), ("base", Spec(name="adaptive-misinformation"))),
        )
        for value in range(1, 7)
    ]
    knew = Knowledge(surrogate="same-architecture", outliers="far")
    counts = {
        **honest(lost=2, changed=3),
        **{
            f"threat/evasion/{size}/{how}": (10, 100) for size in (0.05, 0.1, 0.2) for how in ("pgd", "fgsm", "control")
        },
    }
    return [
        match(
            attack, defense, seed=seed, fidelity=700 + seed, knowledge=Knowledge() if defense == "none" else knew,
            counts=counts, outcomes=by_image(lost=2), flags=() if defense == "none" else (DETECTOR_CANNOT_FIRE,),
        )
        for attack in ("knockoff", inner, Spec(name="recovery-network", params=(("base", inner),)))
        for defense in ("none", *swept_over)
        for seed in range(5)
    ]  # fmt: skip


def test_long_names_and_many_columns_leave_no_shreds_at_100_columns():
    text = shown(tournament_report(wide_tournament()))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "…" not in text
    cells = [line for line in text.splitlines() if line.startswith(" ") and line.strip()]
    assert not [line for line in cells if len(line.strip()) <= 2]  # a word that is broken into its letters
    assert "standardised-logits#2 is standardised-logits(knockoff-adaptive)" in text
    assert "gradient-redirection#5 is gradient-redirection(epsilon=0.1, base=adaptive-misinformation)" in text
    assert (
        line_of(text[text.index("What each defense knew") :], "gradient-redirection#5")[0] == "gradient-redirection#5"
    )


def test_a_note_names_the_cells_it_is_about():
    flagged = [match("jbda", "prada", seed=seed, flags=(DETECTOR_CANNOT_FIRE,)) for seed in range(2)]
    text = " ".join(shown(tournament_report([match("jbda"), *flagged])).split())
    assert f"Note, {DETECTOR_CANNOT_FIRE}: {MEANINGS[DETECTOR_CANNOT_FIRE]}" in text
    assert "On jbda against prada, 100 rows (2 matches)." in text


def test_a_note_about_many_cells_says_how_many_more_there_are():
    flagged = [match(f"attack-{number}", "prada", flags=(DETECTOR_CANNOT_FIRE,)) for number in range(12)]
    assert "; and 4 more cells." in " ".join(shown(tournament_report(flagged)).split())


def test_a_summary_of_all_settings_comes_first_and_then_a_table_for_each():
    small = small_tournament()
    larger = [replace(one, matchup=replace(one.matchup, budget=400)) for one in small]
    other = [replace(one, matchup=replace(one.matchup, victim=Spec(name="wine"), pool="far")) for one in small]
    text = shown(tournament_report([*small, *larger, *other]))
    assert text.startswith("Summary of 3 settings, fidelity of the best clone in the worst case, %")
    assert all(len(line) <= WIDTH for line in text.splitlines())
    found = ["92.0", "(89.5-94.0)", "jbda", "72.0", "(69.5-74.0)", "label-only"]
    assert line_of(text, "digits") == ["digits", "same", "100", *found]
    assert line_of(text, "wine") == ["wine", "far", "100", *found]
    headings = [line for line in text.splitlines() if line.startswith("====")]
    assert headings == [
        "==== victim digits, pool same, 100 rows ====",
        "==== victim digits, pool same, 400 rows ====",
        "==== victim wine, pool far, 100 rows ====",
    ]
    assert text.index("====") < text.index("With 100 rows, jbda") < text.index("Fidelity of the best clone, %:")
