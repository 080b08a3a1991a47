"""The control of an entry: the same attack on answers that teach nothing of the victim, to see what it brought along.

An attack that ships a classifier for a public data set is accurate without asking anything. So it plays once more, with
the same seed, pool and budget, against the same defended victim with its classes exchanged: each answer keeps its shape,
and every class is called by another one's name. What a clone made of such answers has in common with the victim is no
gain.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from arena.contracts import Answer, Count, Defense, DefenseFault, Matchup, QueryBatch, Responder
from arena.match.attacking import Clock, attack_stage
from arena.match.clones import WatchedClone, posteriors_of
from arena.match.deployment import deploy, oracle_terms
from arena.match.preparation import DefendedVictim
from arena.match.reference import load_reference
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.metrics.fidelity import agreement, labels_of
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.registry import build_attack


class Exchanged:
    """A responder whose answers name other classes: class k is called by the name of class ``order[k]``."""

    def __init__(self, responder: Responder, order: Tensor) -> None:
        self._responder, self._order = responder, order

    def __call__(self, queries: QueryBatch) -> Answer:
        answer = self._responder(queries)
        return replace(answer, posteriors=answer.posteriors[:, self._order])


def exchanged_classes(classes: int, *, rng: torch.Generator) -> Tensor:
    """Return a random order (K,) in which no class keeps its place."""
    order = torch.randperm(classes, generator=rng)
    found = torch.empty(classes, dtype=torch.int64)
    found[order] = order.roll(1)
    return found


def control_fidelity(matchup: Matchup, defense: Defense, defended: DefendedVictim, site: Site) -> Count | None:
    """Play the control, and return on how many test rows its clone decides as the victim; None if there is no clone."""
    task = defended.context.victim.task
    order = exchanged_classes(task.classes, rng=site.secret.generator(matchup.seed, "referee", "control"))
    try:
        session = Session(
            oracle_terms(matchup, task),
            responder=Exchanged(deploy(matchup, defense, defended, site), order),
            ledger=MemoryLedger(budget=matchup.budget),
            explainer=defended.context.explainer,
            decimals=matchup.decimals,
        )
    except DefenseFault:
        return None
    clock = Clock(site.limits.play)
    report = attack_stage(
        build_attack(matchup.attack),
        LocalOracle(session, time_left=clock),
        matchup=matchup,
        pool=load_pool(matchup.victim, matchup.pool, matchup.pool_source, site),
        device=site.device,
        clock=clock,
    )
    if report.clone is None:
        return None
    reference = load_reference(matchup.victim, matchup.victim_seed, site)
    watched = WatchedClone(report.clone, task).eval()
    try:
        labels = labels_of(posteriors_of(watched)(reference.inputs))
    except Exception:
        if watched.fault is None:
            raise
        return None
    return agreement(labels, labels_of(reference.posteriors))
