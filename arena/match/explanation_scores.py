"""Scores the explanations that a defense serves beside the victim's own, on test images: Average Drop, and agreement."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from arena.contracts import Count, MeasureName, Scores
from arena.contracts import scores as names
from arena.match.deployed import Deployed
from arena.match.reference import load_reference
from arena.metrics.attribution import drops, map_agreement, paired_drops
from arena.metrics.fidelity import labels_of

EXPLAINED_ROWS = 200  # test images, the first ones
SHOWN_ROWS = 8  # images in the picture


@dataclass(frozen=True, kw_only=True)
class ExplanationScores(Scores):
    """The scores of a defense's explanations, and images above the victim's own maps and those that are served."""

    grid: Tensor | None = None  # (3, columns, C, H, W) in [0, 1]


def explanation_scores(deployed: Deployed) -> ExplanationScores:
    """Compare, on test images, the served maps with the victim's own as explanations of the undefended victim.

    Both maps of an image are judged by the class that the victim predicts, whose posterior is at least 1/K. Images on
    which another class is served, or none, are counted as moved and not compared: their map explains another answer.
    Raises `DefenseFault`. Nothing is scored for tables, or in a matchup without explanations.
    """
    matchup, explainer = deployed.matchup, deployed.defended.context.explainer
    reference = load_reference(matchup.victim, matchup.victim_seed, deployed.site)
    if explainer is None or len(reference.victim.task.shape) != 3:
        return ExplanationScores()
    inputs, classes = reference.inputs[:EXPLAINED_ROWS], labels_of(reference.posteriors[:EXPLAINED_ROWS])
    served, decided = deployed.explained(EXPLAINED_ROWS)
    kept = decided == classes
    counts = {names.MAP_MOVED: Count(int((~kept).sum()), len(inputs))}
    if int(kept.sum()) < 2:
        return ExplanationScores(counts=counts)
    inputs, classes, served = inputs[kept], classes[kept], served[kept]
    own = explainer(inputs, classes)
    blank = _constant(served) & ~_constant(own)
    counts[names.MAP_BLANK] = Count(int(blank.sum()), len(inputs))
    theirs, ours = (drops(reference.victim, inputs, maps, classes) for maps in (served, own))
    paired = paired_drops(theirs, ours, rng=deployed.site.secret.generator(matchup.seed, "referee", "explanations"))
    correlation, overlap = map_agreement(served, own)
    measures: dict[MeasureName, float] = {
        names.AVERAGE_DROP: float(theirs.mean()),
        names.DROP_DEVIATION: float(theirs.std()),
        names.AVERAGE_DROP_OWN: float(ours.mean()),
        names.DROP_DEVIATION_OWN: float(ours.std()),
        names.DROP_DIFFERENCE: paired.difference,
        names.DROP_LOW: paired.low,
        names.DROP_HIGH: paired.high,
        names.DROP_P_DIFFERENT: paired.different,
        names.DROP_P_EQUIVALENT: paired.equivalent,
        names.TOP_OVERLAP: overlap,
        names.RANK_CORRELATION: correlation,  # NaN, and left out, if every map is constant
    }
    return ExplanationScores(counts=counts, measures=measures, grid=_grid(inputs, own, served))


def _constant(maps: Tensor) -> Tensor:
    """Return which maps (N, h, w) have one value everywhere, as (N,) bool: such a map explains nothing."""
    return maps.flatten(1).amax(dim=1) == maps.flatten(1).amin(dim=1)


def _grid(inputs: Tensor, own: Tensor, served: Tensor) -> Tensor:
    """Return the first images with both maps of each, every map stretched from black to white and enlarged."""
    images = inputs[:SHOWN_ROWS]
    rows = [images]
    for maps in (own, served):
        shown = maps[:SHOWN_ROWS].unsqueeze(1)
        low, high = shown.amin(dim=(2, 3), keepdim=True), shown.amax(dim=(2, 3), keepdim=True)
        stretched = torch.where(high > low, (shown - low) / (high - low), 0.0)
        rows.append(interpolate(stretched, size=images.shape[2:], mode="nearest").expand_as(images))
    return torch.stack(rows)
