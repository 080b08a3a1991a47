"""What adaptive misinformation and a diverse ensemble do with an attack's queries, by the outliers they were given.

``python benchmarks/knowledge.py`` prints Markdown tables; Fashion-MNIST in the folder that ``ARENA_DATA`` names is the
victim's data, MNIST, glyphs and textures are what an attack may ask. Trained defenses are kept in arena's cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from arena.contracts import Knowledge, Matchup, OutlierKind, PoolKind, Spec
from arena.defenses.adaptive_misinformation import EXPOSED, AdaptiveMisinformation, calibrating_confidence
from arena.defenses.diverse_ensemble import DiverseEnsemble, coherence
from arena.defenses.parts.calibration import lowest_share
from arena.defenses.parts.defender_networks import restored
from arena.learning.training import one_thread, predict
from arena.match.preparation import DefendedVictim, prepare
from arena.match.rows import load_pool
from arena.match.site import Site, default_data
from arena.match.victims import load_splits

VICTIM = Spec(name="fashion-mnist")
SEEDS = (0, 1)  # of victims, and of the defenses that replace them
POOLS: Mapping[str, tuple[PoolKind, str]] = {
    "MNIST": ("far", ""),
    "glyphs": ("near", ""),
    "textures": ("far", "textures"),
}
OUTLIERS: tuple[OutlierKind, ...] = ("none", "far", "near", "pool")
COSTS = (0.01, 0.05)
ROWS = 2_000
MEMBERS = 3


def prepared(name: str, kind: OutlierKind, pool: str, seed: int, site: Site) -> tuple[DefendedVictim, Tensor]:
    """Return a trained defense and rows of the pool that are not among the first, which ``pool`` outliers may be."""
    sort, source = POOLS[pool]
    params = (("members", MEMBERS),) if name == "diverse-ensemble" else ()
    matchup = Matchup(
        victim=VICTIM,
        victim_seed=seed,
        defense=Spec(name=name, params=params),
        knowledge=Knowledge(outliers=kind),
        attack=Spec(name="knockoff"),
        pool=sort,
        pool_source=source,
        budget=1,
        seed=0,
    )
    defense = DiverseEnsemble(members=MEMBERS) if params else AdaptiveMisinformation()
    return prepare(matchup, defense, site), load_pool(VICTIM, sort, source, site)[-ROWS:]


def deceived(kind: OutlierKind, pool: str, seed: int, site: Site, benign: Tensor) -> list[float]:
    """Return the shares of benign rows and of the pool that are misled, at each of `COSTS`."""
    found, queries = prepared("adaptive-misinformation", kind, pool, seed, site)
    network = restored(found.state, EXPOSED, found.context) if kind != "none" else found.context.victim.module
    assert network is not None  # our victims show theirs
    taus = [lowest_share(calibrating_confidence(found.state), share=cost) for cost in COSTS]
    confidence = [predict(network, rows).amax(dim=1) for rows in (benign, queries)]
    return [float((rows < tau).double().mean()) for tau in taus for rows in confidence]


def agreeing(kind: OutlierKind, pool: str, seed: int, site: Site, benign: Tensor) -> list[float]:
    """Return the mean coherence of the members on benign rows, and on the pool."""
    found, queries = prepared("diverse-ensemble", kind, pool, seed, site)
    members = [restored(found.state, f"member-{number}", found.context) for number in range(MEMBERS)]
    return [
        float(coherence(torch.stack([predict(member, rows) for member in members])).mean())
        for rows in (benign, queries)
    ]


def main() -> None:
    if default_data() is None:
        print("needs Fashion-MNIST and MNIST: name their folder with ARENA_DATA")
        return
    site = Site(work=Path(), data=default_data())  # nothing is played
    benign = load_splits(VICTIM, site.data).test[0][:ROWS]
    head = [f"{who} misled at {cost:.0%}" for cost in COSTS for who in ("benign", "pool")]
    print(f"| outliers | pool | leak | {' | '.join(head)} | coherence: benign | pool |")
    print("|---|---|---|" + "--:|" * (len(head) + 2))
    with one_thread():
        for pool in POOLS:
            for kind in OUTLIERS:
                flags = prepared("adaptive-misinformation", kind, pool, SEEDS[0], site)[0].flags
                means = [
                    torch.tensor([measure(kind, pool, seed, site, benign) for seed in SEEDS]).mean(dim=0).tolist()
                    for measure in (deceived, agreeing)
                ]
                shares = [f"{100 * share:.1f} %" for share in means[0]] + [f"{value:.3f}" for value in means[1]]
                print(f"| {kind} | {pool} | {'leak' if flags else ''} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
