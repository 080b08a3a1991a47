"""What a deployed defense decides on the referee's test rows: what an honest user would be served there."""

from __future__ import annotations

import torch
from torch import Tensor

from arena.contracts import Defense, Matchup, QueryBatch
from arena.learning.tensors import digest_of, load_state, save_state
from arena.match.cache import Cache
from arena.match.deployment import deploy
from arena.match.preparation import DefendedVictim, player_parts
from arena.match.reference import Reference
from arena.match.site import Site
from arena.metrics.fidelity import labels_of
from arena.oracle.guard import Guard
from arena.oracle.terms import MAX_ROWS
from arena.provenance import code_digest_of

REFUSED = -1
"""Stands for the decision on a row that was refused."""


def served_decisions(
    matchup: Matchup, defense: Defense, defended: DefendedVictim, reference: Reference, site: Site, cache: Cache
) -> Tensor:
    """Return the classes (N,), int64, that a fresh deployment answers on the test rows, `REFUSED` where it refuses.

    They are the same for every attack that meets the defense on a seed, and are kept in ``cache``. Raises
    `DefenseFault` if the defense cannot be deployed or answers wrongly.
    """

    def ask() -> bytes:
        responder = deploy(matchup, defense, defended, site)
        guard = Guard(responder, classes=reference.victim.task.classes, explainer=None, decimals=matchup.decimals)
        return save_state({"served": torch.cat([_asked(guard, rows) for rows in reference.inputs.split(MAX_ROWS)])})

    return load_state(cache.once(_key(matchup, defense, defended, site), ask))["served"]


def _asked(guard: Guard, rows: Tensor) -> Tensor:
    queries = QueryBatch(inputs=rows)
    answer = guard(queries)
    guard.mark_recorded(queries)
    return labels_of(answer.posteriors).masked_fill(answer.refused, REFUSED)


def _key(matchup: Matchup, defense: Defense, defended: DefendedVictim, site: Site) -> str:
    machine = (torch.__version__, torch.device(site.device).type, site.secret.digest)
    about = (matchup.seed, matchup.decimals, machine)
    return "served-" + digest_of(
        [repr(about), code_digest_of(__name__), *defended.artefacts, *player_parts(defense, trained=False)]
    )
