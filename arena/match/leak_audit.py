"""The leak audit: do a defense's outliers give away what the attack will query?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from arena.contracts import MeasureName
from arena.contracts import scores as names
from arena.contracts.flags import LEAK, LEAK_NOT_CHECKED
from arena.learning.features import penultimate
from arena.learning.randomness import generator
from arena.learning.tensors import row_digests
from arena.match.victims import NetworkVictim
from arena.metrics.two_sample import LEVEL, copies_p, near_copies, permutation_p, power, shared_part, typical

AUDITED_ROWS = 250  # of each side
MIN_ROWS = 20  # of each side, and of a part of the outliers: with fewer a test finds nothing
MIN_POWER = 0.8  # under which a test that finds no difference says nothing
COPY_LEVEL = 1e-3  # of the test for near copies, which is asked of every matchup with outliers


@dataclass(frozen=True, kw_only=True)
class LeakAudit:
    """What the audit found: whether the outliers leak, whether that could be checked, and the measures behind it."""

    leaks: bool = False
    checked: bool = True
    measures: Mapping[MeasureName, float] = field(default_factory=dict)

    @property
    def flags(self) -> tuple[str, ...]:
        if self.leaks:
            return (LEAK,)
        return () if self.checked else (LEAK_NOT_CHECKED,)


def audit_leak(victim: NetworkVictim, outliers: Tensor, pool: Tensor, *, declared_overlap: bool) -> LeakAudit:
    """Return whether outliers (N, *shape) give away the attack's pool (M, *shape).

    They do if they are the pool by declaration or come from its source (``declared_overlap``), if rows are equal or near
    copies, and if a two-sample test that would notice a difference finds none: between all outliers and the pool, or
    between the pool and that part of the outliers which lies where the pool does. Images are compared by the victim's
    features, tables by their columns.
    """
    overlap = len(set(row_digests(outliers)) & set(row_digests(pool)))
    declared = declared_overlap or overlap > 0
    equal_rows = {names.AUDIT_OVERLAP: float(overlap)}
    rng = generator(0, "audit")
    first, second = (rows[torch.randperm(len(rows), generator=rng)[:AUDITED_ROWS]] for rows in (outliers, pool))
    if min(len(first), len(second)) < MIN_ROWS:
        return LeakAudit(leaks=declared, checked=False, measures=equal_rows)
    copies = int(near_copies(first, second).sum())
    found = _compared(_features(victim, first), _features(victim, second), rng=rng)
    alike = found.get(names.AUDIT_P, 0.0) > LEVEL or found.get(names.AUDIT_PART_P, 0.0) > LEVEL
    checked = found[names.AUDIT_POWER] >= MIN_POWER
    return LeakAudit(
        leaks=declared or copies_p(copies, len(first)) < COPY_LEVEL or (checked and alike),
        checked=checked,
        measures={**equal_rows, names.AUDIT_COPIES: float(copies), **found},
    )


def _compared(outliers: Tensor, pool: Tensor, *, rng: Generator) -> dict[MeasureName, float]:
    """Return the measures of the two-sample tests between features (N, F) and (M, F)."""
    measures = {
        names.AUDIT_P: permutation_p(outliers, pool, rng=rng),
        names.AUDIT_POWER: power(pool, first=len(outliers), second=len(pool), rng=rng),
    }
    part = outliers[shared_part(outliers, pool)]
    measures[names.AUDIT_PART] = len(part) / len(outliers)
    if len(part) >= MIN_ROWS:
        measures[names.AUDIT_PART_P] = permutation_p(part, pool[typical(pool)], rng=rng)
    return measures


def _features(victim: NetworkVictim, rows: Tensor) -> Tensor:
    """Return what rows are compared by: an image's features in the victim's network, a table's columns."""
    if rows.dim() != 4 or victim.module is None:
        return rows.flatten(1)
    network = copy.deepcopy(victim.module)  # features are read by a hook, and other matches ask this victim too
    return penultimate(network, rows)
