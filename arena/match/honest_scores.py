"""Scores a defense by its answers to honest users and by the promises that it broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from arena.contracts import Count, CountName, Defense, HonestOutcomes, Matchup, MeasureName, Scores
from arena.contracts import scores as names
from arena.learning.compact import at
from arena.match.reference import load_reference
from arena.match.rows import honest_traffic
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.metrics.fidelity import labels_of
from arena.metrics.honest_outcomes import pack
from arena.metrics.utility import count_broken_promises, utility
from arena.oracle.transcript import Transcript

LATENCY_PERCENTILES = (50, 95)
ROWS_AT_ONCE = 2**14
"""Rows that are compared with the promise together: a multiple of the padded sizes, so that no bit changes."""


@dataclass(frozen=True, kw_only=True)
class HonestScores(Scores):
    """The scores of a defense's answers to honest users, in total and for each row of the honest split."""

    outcomes: HonestOutcomes | None = None


def honest_scores(matchup: Matchup, transcript: Transcript, site: Site) -> HonestScores:
    """Compare the answers to honest users with the undefended victim's posteriors on the same rows."""
    if not len(transcript.honest_rows):
        return HonestScores()
    images = honest_traffic(matchup, site).images(call.queries for call in transcript.honest_calls)
    labels = load_splits(matchup.victim, site.data).honest[1]
    split, labels = len(labels), labels[images]
    released, refused = transcript.honest_posteriors, transcript.honest_refused
    clean = load_reference(matchup.victim, matchup.victim_seed, site).victim(transcript.honest_inputs)
    found = utility(released=released, refused=refused, clean=clean, labels=labels)
    right = (labels_of(released) == labels) & ~refused
    outcomes = pack(images, clean=labels_of(clean) == labels, right=right, split=split)
    return HonestScores(counts=found.counts, measures=found.measures, outcomes=outcomes)


def promise_scores(matchup: Matchup, transcript: Transcript, defense: Defense, site: Site) -> Scores:
    """Count the rows, of honest users and of the attack, on which the defense broke its promise."""
    places = torch.cat([transcript.attack_rows, transcript.honest_rows])
    if not len(places):
        return Scores()
    rows, victim = transcript.rows, load_reference(matchup.victim, matchup.victim_seed, site).victim
    counts: dict[CountName, Count] = {}
    for chosen in places.split(ROWS_AT_ONCE):
        broken = count_broken_promises(
            defense.promise,
            clean=victim(at(rows.inputs, chosen)),
            released=rows.posteriors[chosen],
            refused=rows.refused[chosen],
            decimals=matchup.decimals,
        )
        for name, (hits, total) in broken.items():
            before = counts.get(name, Count(0, 0))
            counts[name] = Count(before.hits + hits, before.total + total)
    return Scores(counts=counts)


def latencies(seconds: Sequence[float]) -> dict[MeasureName, float]:
    """Return the median and the 95th percentile of what honest calls took; empty if there were none."""
    if not len(seconds):
        return {}
    median, late = np.percentile(seconds, LATENCY_PERCENTILES)
    return {names.LATENCY_P50: float(median), names.LATENCY_P95: float(late)}


def volume_scores(matchup: Matchup, site: Site) -> Scores:
    """Count the rows that honest users query over a whole match, out of those that the rules ask for."""
    volumes = honest_traffic(matchup, site).volumes
    return Scores(counts={names.HONEST_HEAVY: volumes.heavy, names.HONEST_LIGHT: volumes.light})
