"""Scores a defense by its answers to honest users, by the promises it broke, and by the quality of its explanations."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arena.contracts import Defense, Explainer, HonestOutcomes, Matchup, Scores
from arena.contracts import scores as names
from arena.match.reference import load_reference
from arena.match.rows import honest_traffic
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.metrics.attribution import drops, map_agreement
from arena.metrics.fidelity import labels_of
from arena.metrics.honest_outcomes import pack
from arena.metrics.utility import count_broken_promises, utility
from arena.oracle.transcript import Transcript

EXPLAINED_ROWS = 200  # the number of released maps that are compared with the victim's own


@dataclass(frozen=True, kw_only=True)
class HonestScores(Scores):
    """The scores of a defense's answers to honest users, in total and for each row of the honest split."""

    outcomes: HonestOutcomes | None = None


def honest_scores(matchup: Matchup, transcript: Transcript, site: Site) -> HonestScores:
    """Compare the answers to honest users with the undefended victim's posteriors on the same rows."""
    if not transcript.honest_calls:
        return HonestScores()
    script, calls = honest_traffic(matchup, site), [call.queries for call in transcript.honest_calls]
    labels, released, refused = script.labels(calls), transcript.honest_posteriors, transcript.honest_refused
    clean = load_reference(matchup.victim, matchup.victim_seed, site).victim(transcript.honest_inputs)
    found = utility(released=released, refused=refused, clean=clean, labels=labels)
    right = (labels_of(released) == labels) & ~refused
    split = len(load_splits(matchup.victim, site.data).honest[1])
    outcomes = pack(script.images(calls), clean=labels_of(clean) == labels, right=right, split=split)
    return HonestScores(counts=found.counts, measures=found.measures, outcomes=outcomes)


def promise_scores(matchup: Matchup, transcript: Transcript, defense: Defense, site: Site) -> Scores:
    """Count the rows, of honest users and of the attack, on which the defense broke its promise."""
    inputs = torch.cat([transcript.attack_inputs, transcript.honest_inputs])
    if not len(inputs):
        return Scores()
    broken = count_broken_promises(
        defense.promise,
        clean=load_reference(matchup.victim, matchup.victim_seed, site).victim(inputs),
        released=torch.cat([transcript.attack_posteriors, transcript.honest_posteriors]),
        refused=torch.cat([transcript.attack_refused, transcript.honest_refused]),
        decimals=matchup.decimals,
    )
    return Scores(counts=broken)


def explanation_scores(matchup: Matchup, transcript: Transcript, explainer: Explainer | None, site: Site) -> Scores:
    """Compare the maps that were released to the attack with the victim's own, both as explanations of the victim."""
    calls = [call for call in transcript.attack_calls if call.explanations is not None]
    victim = load_reference(matchup.victim, matchup.victim_seed, site).victim
    if explainer is None or not calls or len(victim.task.shape) != 3:
        return Scores()
    answers = [call.answer for call in calls]
    inputs = torch.cat([call.queries.inputs for call in calls])[:EXPLAINED_ROWS]
    classes = labels_of(torch.cat([answer.posteriors for answer in answers])[:EXPLAINED_ROWS])
    released = torch.cat([answer.explanations for answer in answers if answer.explanations is not None])
    own, released = explainer(inputs, classes), released[: len(inputs)]
    theirs, ours = (drops(victim, inputs, maps, classes) for maps in (released, own))
    correlation, overlap = map_agreement(released, own)
    measures = {
        names.AVERAGE_DROP: float(theirs.mean()),
        names.AVERAGE_DROP_OWN: float(ours.mean()),
        names.TOP_OVERLAP: overlap,
    }
    if correlation == correlation:  # NaN if every map is constant
        measures[names.RANK_CORRELATION] = correlation
    return Scores(measures=measures)


def volume_scores(matchup: Matchup, site: Site) -> Scores:
    """Count the rows that honest users query over a whole match, out of those that the rules ask for."""
    volumes = honest_traffic(matchup, site).volumes
    return Scores(counts={names.HONEST_HEAVY: volumes.heavy, names.HONEST_LIGHT: volumes.light})
