"""The flags of results: what a reader must know before comparing a result with others."""

from __future__ import annotations

from collections.abc import Mapping

LEAK = "leak"
LEAK_NOT_CHECKED = "leak not checked"
TIMED = "timed"
UNDERTRAINED = "undertrained"
UNIFORM_DEGENERATE = "uniform inputs degenerate"
SCORED_AS_NONE = "scored as none"
HONEST_ROWS_SHORT = "honest rows short"
COST_NOT_RANKED = "cost not ranked"
DETECTOR_CANNOT_FIRE = "detector cannot fire"
NO_CONTROL = "control failed"
UNSAFE = "entries not isolated"
HONEST_CANNOT_TRIGGER = "honest users cannot trigger it"

MEANINGS: Mapping[str, str] = {
    LEAK: "the defense's outliers give away what the attack will query",
    LEAK_NOT_CHECKED: "there are too few rows of outliers or pool to test whether the outliers give away the queries",
    TIMED: "the attack ran out of time, so its result depends on the machine's speed",
    UNDERTRAINED: "the referee's clone had not learned the undefended answers when its training ended",
    UNIFORM_DEGENERATE: "the victim assigns nearly all uniform inputs to one class, so agreement on them says little",
    SCORED_AS_NONE: "the defense failed, so its clones are scored as in the undefended match of the same seed",
    HONEST_ROWS_SHORT: "the honest split has fewer rows than honest users should query: no account repeats a "
    "row, so the cost of the defense is measured on fewer rows",
    COST_NOT_RANKED: "honest rows are short, and the defense keeps state or is an entry, so it could behave well only "
    "while honest users query: it is not ranked",
    DETECTOR_CANNOT_FIRE: "the budget is below the number of queries that the detector needs from an account",
    NO_CONTROL: "the attack returned no clone from answers that teach nothing of the victim, so its own clone counts as "
    "something that it brought along",
    UNSAFE: "an entry's code ran without a sandbox, with the rights of whoever played the match, and could have cheated",
    HONEST_CANNOT_TRIGGER: "the honest split has fewer rows than the detector needs from an account, so false alarms "
    "cannot be seen",
}
