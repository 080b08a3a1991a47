"""What each score means, in words: the documentation of every column that is named after a score."""

from __future__ import annotations

import re
from collections.abc import Mapping

from arena.contracts import scores as names
from arena.contracts.scores import CountName, MeasureName

MEANINGS: Mapping[str, str] = {
    names.VICTIM_ACCURACY: "test rows that the undefended victim classifies correctly",
    names.DEPLOYED_ACCURACY: "test rows that the deployed defense serves correctly; a refused row does not count",
    names.KEPT: "honest rows on which the undefended victim's decision is kept",
    names.HONEST_ACCURACY: "honest rows that are answered correctly; refusals count as wrong",
    names.CLEAN_ACCURACY: "the same honest rows that the undefended victim classifies correctly",
    names.REFUSED: "honest rows that were refused",
    names.ATTACK_REFUSED: "number of rows of the attack that were refused",
    names.SHIFTED: "answered honest rows whose posteriors changed at all",
    names.ONE_HOT: "answered honest rows whose posteriors were one-hot",
    names.HONEST_HEAVY: "rows that the heavy honest account queried, of those that the rules ask for",
    names.HONEST_LIGHT: "rows that the light honest accounts queried, of those that the rules ask for",
    names.ARGMAX_BROKEN: "answered rows on which the promise of an unchanged decision was broken",
    names.L1_BROKEN: "answered rows on which the promise of a bounded L1 shift was broken",
    names.MAP_MOVED: "test images on which another class than the victim's, or none, is explained",
    names.MAP_BLANK: "the others whose served map is constant although the victim's own is not",
    names.CONTROL: "test rows on which the entry's control clone, made of answers that teach nothing, decides as the victim",
    names.UNIFORM_LARGEST_SHARE: "share of uniform inputs that the victim assigns to its most frequent class",
    names.L1: "mean L1 shift of honest posteriors, in [0, 2]",
    names.L1_MAX: "largest L1 shift of an honest row, in [0, 2]",
    names.ECE: "expected calibration error of honest answers, in [0, 1]",
    names.ECE_CLEAN: "expected calibration error of the undefended victim on the same rows, in [0, 1]",
    names.BRIER_COST: "Brier score of honest answers minus that of the undefended victim",
    names.LOG_LOSS: "mean log loss of honest answers, in nats",
    names.LATENCY_P50: "median time in which the oracle answered and recorded an honest call, in seconds",
    names.LATENCY_P95: "95th percentile of the time in which the oracle answered and recorded an honest call, in seconds",
    names.AUDIT_OVERLAP: "share of the defense's outliers that are rows of the attack's pool",
    names.AUDIT_TWO_SAMPLE: "accuracy of a classifier of outliers against pool; only in results before rules 2",
    names.AUDIT_P: "p-value of the hypothesis that outliers and pool have the same distribution",
    names.AUDIT_POWER: "power of that test with the available rows",
    names.AUDIT_PART: "share of the outliers that lie where the pool does",
    names.AUDIT_PART_P: "p-value as audit/p, for that part of the outliers",
    names.AUDIT_COPIES: "number of outliers that are near copies of a row of the pool",
    names.AVERAGE_DROP: "Average Drop of the explanations that are served, in [0, 1]",
    names.AVERAGE_DROP_OWN: "Average Drop of the victim's own explanations, in [0, 1]",
    names.DROP_DEVIATION: "standard deviation over images of explanation/average_drop",
    names.DROP_DEVIATION_OWN: "standard deviation over images of explanation/average_drop_own",
    names.DROP_DIFFERENCE: "mean over images of the served map's drop minus that of the victim's own",
    names.DROP_LOW: "lower end of the 95 % interval of explanation/drop_difference",
    names.DROP_HIGH: "upper end of the 95 % interval of explanation/drop_difference",
    names.DROP_P_DIFFERENT: "p-value of Wilcoxon's signed-rank test for a difference in drop",
    names.DROP_P_EQUIVALENT: "p-value of two one-sided tests for a difference in drop within 0.05",
    names.TOP_OVERLAP: "overlap of the most relevant pixels of the served map and the victim's own, in [0, 1]",
    names.RANK_CORRELATION: "rank correlation of the served map and the victim's own, in [-1, 1]",
    names.ATTACK_WALL_SECONDS: "time that the attack took, in seconds",
    names.ATTACK_CPU_SECONDS: "CPU time that the attack took, in seconds",
    names.ATTACK_STEPS: "optimiser steps of all networks that the attack trained",
    names.CLONE_STEPS: "optimiser steps of each clone that the referee trained",
    names.UNSPENT: "units of the budget that the attack left",
    names.SCORE_WALL_SECONDS: "time that scoring took, in seconds",
    names.SCORE_CPU_SECONDS: "CPU time that scoring took, in seconds",
}
"""The meaning of each score that has a fixed name."""

OF_A_CLONE: Mapping[str, str] = {
    "accuracy": "test rows that {clone} classifies correctly",
    "fidelity": "test rows on which {clone} decides like the undefended victim",
    "fidelity_deployed": "test rows on which {clone} decides like the deployed defense",
    "fidelity_unif": "uniform inputs on which {clone} decides like the undefended victim",
    "tv_test": "mean total variation distance to the victim on test rows, in [0, 1], of {clone}",
    "tv_unif": "mean total variation distance to the victim on uniform inputs, in [0, 1], of {clone}",
    "unif_kappa": "Cohen's kappa with the victim on uniform inputs, of {clone}",
    "divergence": "mean Kullback-Leibler divergence from the answers it was trained on, in nats, of {clone}",
}
"""The meaning of each score of a clone."""

CLONES: Mapping[str, str] = {
    "a": "the clone of track A, which the referee trains on the answers",
    "a-hard": "the clone of track A-hard, which the referee trains on the predicted classes",
    "b": "the clone that the attack returned (track B)",
    "floor": "a clone without queries",
}
"""Whose clone it is, by track."""

_CURVE = re.compile(r"curve/(\d+)/a")


def meaning_of(name: CountName | MeasureName | str) -> str:
    """Return what a score means. Raises ValueError if no score has this name."""
    if name in MEANINGS:
        return MEANINGS[name]
    first, _, what = name.rpartition("/")
    if what in OF_A_CLONE and (clone := _clone(first)):
        return OF_A_CLONE[what].format(clone=clone)
    match name.split("/", 2):
        case ["threat", threat, what]:
            return f"what the threat {threat} counts or measures as {what}"
        case [player, "fact", what]:
            return f"what the {player} states about its own play as {what}; nothing is ranked by it"
    message = f"no score is called {name!r}"
    raise ValueError(message)


def _clone(track: str) -> str:
    rows = _CURVE.fullmatch(track)
    if rows:
        return f"a track A clone that was trained on the first {int(rows[1]):,} rows"
    return CLONES.get(track, "")
