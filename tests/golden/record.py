"""Record the golden matches anew: ``python -m tests.golden.record``; the commit says why the results moved."""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path

import torch

from arena.contracts import Knowledge, MatchResult, Matchup, Recipe, Spec, to_json
from arena.match.play import play
from arena.match.site import Site
from arena.registry import build_attack, build_defense

FOLDER = Path(__file__).parent
VICTIM = Spec(name="iris", params=(("arch", "mlp"), ("steps", 200)))
MATCHUPS = {
    "knockoff-none": ("knockoff", Spec(name="none")),
    "jbda-mad": ("jbda", Spec(name="mad-argmax", params=(("epsilon", 0.5),))),
    "uniform-noise-gaussian": ("uniform-noise", Spec(name="gaussian-noise")),
}


def matchup_of(name: str) -> Matchup:
    """Return the matchup of a golden match."""
    attack, defense = MATCHUPS[name]
    return Matchup(
        victim=VICTIM,
        victim_seed=0,
        defense=defense,
        knowledge=Knowledge(surrogate="random" if "mad" in defense.name else "none"),
        attack=Spec(name=attack, params=(("steps", 60),)),
        pool="same",
        budget=20,
        seed=7,
        recipe=Recipe(steps=60),
    )


def replay(name: str, work: Path, cache: Path) -> MatchResult:
    """Play a golden match in this process."""
    matchup = matchup_of(name)
    return play(
        matchup,
        attack=build_attack(matchup.attack),
        defense=build_defense(matchup.defense),
        site=Site(work=work, cache=cache),
    )


def fingerprint() -> dict[str, str]:
    """Return what float digests depend on beside the code."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": _processor(),
    }


def _processor() -> str:
    """Return the processor's model where the system tells it: kernels are chosen by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def recorded(result: MatchResult) -> dict[str, object]:
    """Return what is compared everywhere, and what only on an equal fingerprint."""
    return {
        "fingerprint": fingerprint(),
        "everywhere": {
            "outcome": result.verdict.outcome,
            "spent": result.spent,
            "rows": result.rows,
            "distinct_rows": result.distinct_rows,
            "calls": result.calls,
            "honest_rows": result.counts["utility/kept"][1],
        },
        "digests": {"transcript": result.transcript_digest, "clone": result.clone_digest},
        "shares": {key: hits / total for key, (hits, total) in result.counts.items() if total},
        "matchup": to_json(result.matchup),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for golden in MATCHUPS:
            result = replay(golden, Path(folder), Path(folder))
            (FOLDER / f"{golden}.json").write_text(json.dumps(recorded(result), indent=1) + "\n")
