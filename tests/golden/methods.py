"""What each built-in method answers, recorded under its version: ``python -m tests.golden.methods`` records it anew.

A method whose answers move gets a new version in `arena.registry.builtins`, and its record is made anew in the same
commit, which says why they moved.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from arena.contracts import Explanation, MatchResult, Matchup, QueryBatch, Spec
from arena.learning.architectures import build
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of
from arena.learning.training import one_thread
from arena.match.deployment import deploy
from arena.match.preparation import prepare
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.registry import ROLES, Role, build_defense, build_explanation, names, newest_version
from tests.golden.record import fingerprint
from tests.players import MATCHUP, meeting, played, small

FILE = Path(__file__).parent / "methods.json"
ROWS = 24
SPLITS = (("honest", 200), ("pool", 400), ("test", 400), ("training", 697), ("validation", 100))
VICTIM = replace(MATCHUP.victim, params=tuple(sorted({**dict(MATCHUP.victim.params), **dict(SPLITS)}.items())))
"""With its own splits: what a method answers must not move when the default splits do."""

Record = dict[str, object]


def meeting_of(attack: Spec, defense: Spec) -> Matchup:
    """Return a matchup of two players on terms that meet what they need, over the golden victim."""
    return replace(meeting(attack, defense), victim=VICTIM)


def recorded_names() -> list[tuple[Role, str]]:
    """Return the role and name of every built-in method."""
    return [(role, name) for role in ROLES for name in names(role) if newest_version(role, name) is not None]


def record_of(role: Role, name: str, site: Site) -> Record:
    """Return a method's version, the digest of its answers, and what of them another machine gives nearly alike."""
    makes = {"attack": _attack, "defense": _defense, "explanation": _explanation, "threat": _threat}
    return {"version": newest_version(role, name), **makes[role](name, site)}


def _attack(name: str, site: Site) -> Record:
    result: MatchResult = played(meeting_of(small("attack", name), small("defense", "none")), site)
    assert result.verdict.outcome == "completed", result.verdict
    return {"digest": result.clone_digest, "nearly": [result.rows, result.calls, result.counts["b/fidelity"].share]}


def _defense(name: str, site: Site) -> Record:
    spec = small("defense", name)
    matchup, defense = meeting_of(small("attack", "knockoff"), spec), build_defense(spec)
    inputs = load_splits(matchup.victim, site.data).pool[:ROWS]
    with one_thread():
        respond = deploy(matchup, defense, prepare(matchup, defense, site), site)
        answers = [respond(QueryBatch(inputs=rows)) for rows in inputs.split(ROWS // 3)]
    posteriors = torch.cat([answer.posteriors for answer in answers])
    digest = digest_of([posteriors, torch.cat([answer.refused for answer in answers])])
    return {"digest": digest, "nearly": posteriors.mean(dim=0).tolist()}


def _explanation(name: str, site: Site) -> Record:
    splits = load_splits(VICTIM, site.data)
    network = build("small-cnn", splits.task, rng=generator(0, "golden")).eval()
    method: Explanation = build_explanation(Spec(name=name))
    with one_thread():
        explain = method.deploy(network, splits.training[0][:50], rng=generator(0, "golden", "explanation"))
        maps = explain(splits.pool[:ROWS], torch.arange(ROWS) % splits.task.classes)
    return {"digest": digest_of([maps]), "nearly": [float(maps.mean()), float(maps.std())]}


def _threat(name: str, site: Site) -> Record:
    matchup = replace(MATCHUP, victim=VICTIM, threats=(small("threat", name),), threat_budget=200)
    found = played(matchup, site)
    shares = {key: hits / total for key, (hits, total) in found.counts.items() if key.startswith("threat/") and total}
    return {
        "digest": digest_of([json.dumps(sorted(shares.items()))]),
        "nearly": [shares[key] for key in sorted(shares)],
    }


def record() -> None:
    """Write every record anew."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(work=Path(folder), cache=Path(folder))
        found = {f"{role} {name}": record_of(role, name, site) for role, name in recorded_names()}
    FILE.write_text(json.dumps({"fingerprint": fingerprint(), "methods": found}, indent=1) + "\n")


if __name__ == "__main__":
    record()
