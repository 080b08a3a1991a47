"""The leak audit: do a defense's outliers give away what the attack will query?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arena.contracts import MeasureName
from arena.contracts.scores import AUDIT_OVERLAP, AUDIT_TWO_SAMPLE
from arena.learning.features import penultimate
from arena.learning.randomness import generator
from arena.learning.tensors import row_digests
from arena.match.victims import NetworkVictim
from arena.metrics.knowledge import two_sample_accuracy

INDISTINGUISHABLE = 0.6  # accuracy of a classifier between outliers and pool under which the defense knows the pool
AUDITED_ROWS = 400  # of each side
MIN_ROWS = 20  # of a pool: with fewer, only declarations and equal rows can show a leak


@dataclass(frozen=True, kw_only=True)
class LeakAudit:
    """What the audit found: whether the outliers leak, and the measures that say why."""

    leaks: bool
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


def audit_leak(victim: NetworkVictim, outliers: Tensor, pool: Tensor, *, declared_overlap: bool) -> LeakAudit:
    """Return whether outliers (N, *shape) give away the attack's pool (M, *shape).

    They do if they are the pool by declaration or come from its source (``declared_overlap``), if rows are equal, or if
    a two-sample classifier on the victim's features cannot tell them apart (accuracy under `INDISTINGUISHABLE`).
    """
    overlap = len(set(row_digests(outliers)) & set(row_digests(pool)))
    measures = {AUDIT_OVERLAP: float(overlap)}
    leaks = declared_overlap or overlap > 0
    if len(pool) >= MIN_ROWS and victim.module is not None:
        rng = generator(0, "audit")
        first = outliers[torch.randperm(len(outliers), generator=rng)[:AUDITED_ROWS]]
        second = pool[torch.randperm(len(pool), generator=rng)[:AUDITED_ROWS]]
        network = copy.deepcopy(victim.module)  # features are read by a hook, and other matches ask this victim too
        accuracy = two_sample_accuracy(penultimate(network, first), penultimate(network, second)).share
        measures[AUDIT_TWO_SAMPLE] = accuracy
        leaks = leaks or accuracy < INDISTINGUISHABLE
    return LeakAudit(leaks=leaks, measures=measures)
