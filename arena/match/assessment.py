"""Measures what a finished clone is good for: each threat meets a fresh deployment of the victim, metered apart."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from arena.contracts import (
    Count,
    CountName,
    Defense,
    Matchup,
    MeasureName,
    PlayerFault,
    Spec,
    ThreatContext,
    ThreatReport,
)
from arena.contracts.scores import threat_count, threat_measure
from arena.data.splits import Splits
from arena.learning.architectures import build
from arena.learning.distillation import recipe_steps
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of, load_state, save_state
from arena.learning.training import fit, one_hot, one_thread
from arena.match.attacking import Clock
from arena.match.cache import Cache
from arena.match.clones import WatchedClone, posteriors_of
from arena.match.deployment import deploy
from arena.match.preparation import DefendedVictim
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.match.victims import load_splits, victim_architecture, victim_key, victim_terms
from arena.oracle.interrupts import is_operators
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.oracle.transcript import Transcript
from arena.registry import build_threat

SHOWN_SIDE = 64  # the smallest height in pixels at which an image is shown
GAP = 2  # pixels between two images


@dataclass(kw_only=True)
class Assessment:
    """Counts and measures named ``threat/NAME/...``, PNG grids by threat, the players' faults, and flags."""

    counts: dict[CountName, Count] = field(default_factory=dict)
    measures: dict[MeasureName, float] = field(default_factory=dict)
    grids: dict[str, bytes] = field(default_factory=dict)
    faults: list[PlayerFault] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def assess(
    matchup: Matchup,
    clone: nn.Module,
    *,
    defense: Defense,
    defended: DefendedVictim,
    transcript: Transcript,
    site: Site,
) -> Assessment:
    """Run every threat of a matchup with one clone; each may query ``threat_budget`` rows.

    A threat that does not finish has no scores. The fault is the clone's or the defense's if either failed; otherwise
    it is the threat's own, and the match is flagged.
    """
    found, splits = Assessment(), load_splits(matchup.victim, site.data)
    for name, spec in named(matchup.threats).items():
        watched, threat = WatchedClone(clone, splits.task).eval(), build_threat(spec)
        session = Session(
            OracleTerms(task=splits.task, budget=matchup.threat_budget),
            responder=deploy(matchup, defense, defended, site),
            ledger=MemoryLedger(budget=matchup.threat_budget),
        )
        clock = Clock(site.limits.score)
        context = _context(matchup, splits, transcript, site, clock)
        try:
            if threat.needs_gradients:
                watched.check_gradients()
            oracle, rng = LocalOracle(session, time_left=clock), site.secret.generator(matchup.seed, "threat", name)
            _keep(found, name, threat.assess(watched, oracle, context, rng=rng))
            found.measures[threat_measure(name, "spent")] = float(matchup.threat_budget - session.remaining)
        except BaseException as error:
            if is_operators(error):
                raise
            fault = watched.fault or session.fault
            if fault is not None:
                found.faults.append(fault)
            else:
                found.flags.append(f"threat {name} failed")
    return found


def _context(matchup: Matchup, splits: Splits, transcript: Transcript, site: Site, clock: Clock) -> ThreatContext:
    return ThreatContext(
        test=splits.test,
        training=splits.training,
        transfer_set=(transcript.attack_inputs, transcript.attack_posteriors),
        pool=load_pool(matchup.victim, matchup.pool, matchup.pool_source, site),
        judge=posteriors_of(load_judge(matchup.victim, matchup.victim_seed, site)),
        device=torch.device(site.device),
        time_left=clock,
    )


def _keep(found: Assessment, name: str, report: ThreatReport) -> None:
    found.counts |= {threat_count(name, key): Count(*value) for key, value in report.counts.items()}
    found.measures |= {threat_measure(name, key): value for key, value in report.measures.items()}
    if report.grid is not None:
        found.grids[name] = grid_png(report.grid)


def named(threats: tuple[Spec, ...]) -> dict[str, Spec]:
    """Return threats by the name under which they are scored: their own, with a number if one occurs twice."""
    found: dict[str, Spec] = {}
    for spec in threats:
        alike = sum(other.name == spec.name for other in found.values())
        found[f"{spec.name}-{alike + 1}" if alike else spec.name] = spec
    return found


@functools.lru_cache(maxsize=4)
def load_judge(victim: Spec, seed: int, site: Site) -> nn.Module:
    """Return an independent classifier: the victim's architecture, trained on the test split instead."""
    splits = load_splits(victim, site.data)
    inputs, labels = splits.test
    arch = victim_architecture(victim_terms(victim), splits.task)
    network = build(arch, splits.task, rng=generator(seed, "judge", "initialisation"))

    def train() -> bytes:
        with one_thread():
            rng = generator(seed, "judge", "training")
            targets = one_hot(labels, splits.task.classes)
            fit(network.to(site.device), inputs, targets, steps=recipe_steps(len(inputs)), rng=rng)
        return save_state(network.state_dict())

    key = "judge-" + digest_of([inputs, labels, victim_key(victim, seed, site)])
    stored = Cache(folder=site.cache).once(key, train)
    network.load_state_dict(load_state(stored))
    return network.to(site.device).eval()


def grid_png(grid: Tensor) -> bytes:
    """Return a PNG of images (rows, columns, C, H, W) in [0, 1], C 1 or 3, enlarged so that a person can see them."""
    rows, columns, channels, height, width = grid.shape
    scale = max(1, -(-SHOWN_SIDE // height))
    levels = (grid.clamp(0, 1) * 255).round().to(torch.uint8)
    big = levels.repeat_interleave(scale, dim=3).repeat_interleave(scale, dim=4)
    cell_height, cell_width = height * scale + GAP, width * scale + GAP
    sheet = torch.full((rows * cell_height - GAP, columns * cell_width - GAP, 3), 255, dtype=torch.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * cell_height, column * cell_width
            image = big[row, column].expand(3, -1, -1) if channels == 1 else big[row, column]
            sheet[top : top + height * scale, left : left + width * scale] = image.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(sheet.numpy()).save(file, format="PNG")
    return file.getvalue()
