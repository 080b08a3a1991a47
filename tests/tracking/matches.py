"""Made-up results of matches."""

from __future__ import annotations

from dataclasses import replace

from arena.contracts import Knowledge, MatchResult, Matchup, Spec, Verdict

JBDA = Spec(name="jbda", params=(("step", 0.1),))
MATCHUP = Matchup(
    victim=Spec(name="digits", params=(("arch", "small-cnn"),)),
    victim_seed=0,
    defense=Spec(name="mad", params=(("epsilon", 0.5),)),
    knowledge=Knowledge(surrogate="random"),
    attack=Spec(name="argmax", params=(("base", JBDA), ("rounds", (1, 2)))),
    pool="near",
    budget=400,
    seed=3,
    curve=(100,),
)


def result(seed: int = 3, *, attempt: int = 1, key: str = "") -> MatchResult:
    return MatchResult(
        matchup=replace(MATCHUP, seed=seed),
        attempt=attempt,
        verdict=Verdict(outcome="completed"),
        isolation="in-process",
        key=key,
        spent=400,
        rows=390,
        distinct_rows=380,
        calls=2,
        counts={
            "a/fidelity": (300, 400),
            "curve/100/a/fidelity": (200, 400),
            "curve/390/a/fidelity": (300, 400),
            "utility/kept": (0, 0),
        },
        measures={"b/tv_test": 0.25, "threat/mine/acc@1": 1.0},
        flags=("leak", "timed"),
    )
