"""Scores the clones of a match: the attack's own, and those that the referee trains on the transcript."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from arena.contracts import (
    AttackFault,
    Confusion,
    Count,
    CountName,
    DefenseFault,
    Matchup,
    MeasureName,
    PlayerFault,
)
from arena.contracts import scores as names
from arena.contracts.flags import UNDERTRAINED, UNIFORM_DEGENERATE
from arena.learning.architectures import build
from arena.learning.distillation import distil, mean_divergence, recipe_steps
from arena.learning.tensors import digest_of, load_state, save_state
from arena.learning.training import hardened
from arena.match.attacking import AttackReport
from arena.match.cache import Cache
from arena.match.clones import WatchedClone, posteriors_of
from arena.match.deployed import REFUSED, Deployed
from arena.match.reference import Reference, load_reference
from arena.match.site import Site
from arena.metrics.fidelity import agreement, cohen_kappa, confusion_counts, labels_of, majority_share, total_variation
from arena.oracle.transcript import Transcript
from arena.provenance import code_digest_of

DEGENERATE_SHARE = 0.9  # if the victim assigns a larger share of uniform inputs to one class, R_unif says little
MOST_CONFUSED_CLASSES = 32  # with more, a matrix is neither read nor small
CLONE_RECIPE = "arena.learning.distillation"  # the module whose code trains the referee's clones
MAX_MEAN_KL_SOFT, MAX_MEAN_KL_HARD = 0.03, 0.1  # nats; above this on an undefended transfer set, training was too short


@dataclass(kw_only=True, eq=False)
class CloneScores:
    """Scores of every clone; ``soft`` is the clone of track A, or None if there were no answers to train it on.

    ``faults`` are the errors that kept the attack's own clone, or what the defense serves, from being scored.
    """

    counts: dict[CountName, Count] = field(default_factory=dict)
    measures: dict[MeasureName, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    soft: nn.Module | None = None
    confusions: dict[str, Confusion] = field(default_factory=dict)  # by track
    faults: list[PlayerFault] = field(default_factory=list)

    @property
    def confusion(self) -> Confusion | None:
        """The confusions of the attack's own clone, or of the referee's if that was not scored."""
        return self.confusions.get("b", self.confusions.get("a"))


def score_clones(
    matchup: Matchup,
    transcript: Transcript,
    report: AttackReport,
    deployed: Deployed,
) -> CloneScores:
    """Score the victim, the floor, the attack's clone, and the referee's clones of tracks A and A-hard."""
    site = deployed.site
    judge = _Judge(load_reference(matchup.victim, matchup.victim_seed, site))
    trainer = _Trainer(matchup, judge.reference, site, deployed.cache)
    if not matchup.is_undefended and report.verdict.fault != "defense":
        try:
            judge.defended_by(deployed.decisions())
        except DefenseFault as fault:
            judge.found.faults.append(fault)
    judge.victim()
    judge.clone("floor", trainer.fresh().eval())
    if report.clone is not None:
        _score_attacks_clone(judge, report.clone)
    inputs, released = transcript.attack_inputs, transcript.attack_posteriors
    if len(inputs) and bool((released.sum(dim=1) > 0).any()):
        _score_referees_clones(judge, trainer, inputs, released)
    return judge.found


def _score_attacks_clone(judge: _Judge, clone: nn.Module) -> None:
    """Score the attack's own clone on everything, or record its fault and score nothing."""
    try:
        judge.clone("b", WatchedClone(clone, judge.reference.victim.task).eval())
    except AttackFault as fault:
        judge.found.faults.append(fault)


def _score_referees_clones(judge: _Judge, trainer: _Trainer, inputs: Tensor, released: Tensor) -> None:
    """Train and score the clones of tracks A and A-hard, on the answers and on the argmax of the answers."""
    soft = judge.found.soft = trainer.trained(inputs, released)
    judge.clone("a", soft)
    hard_rows = hardened(released)
    only_labels = torch.equal(hard_rows, released)
    judge.clone("a-hard", soft if only_labels else trainer.trained(inputs, hard_rows))
    divergence = mean_divergence(soft, inputs, released)
    judge.found.measures[names.clone_measure("a", "divergence")] = divergence
    judge.found.measures[names.CLONE_STEPS] = float(trainer.matchup.recipe.steps or recipe_steps(len(inputs)))
    limit = MAX_MEAN_KL_HARD if only_labels else MAX_MEAN_KL_SOFT
    if trainer.matchup.is_undefended and divergence > limit:
        judge.found.flags.append(UNDERTRAINED)
    for point in trainer.matchup.curve:
        if point < len(inputs):
            judge.point(point, trainer.trained(inputs[:point], released[:point]))
    counts, last = judge.found.counts, names.curve_track(len(inputs))
    for what in ("accuracy", "fidelity"):
        counts[names.clone_count(last, what)] = counts[names.clone_count("a", what)]


class _Trainer:
    """Trains the referee's clones by the matchup's recipe; matches with equal transfer sets share a cached clone."""

    def __init__(self, matchup: Matchup, reference: Reference, site: Site, cache: Cache) -> None:
        self.matchup, self._task, self._site, self._cache = matchup, reference.victim.task, site, cache

    def fresh(self) -> nn.Module:
        """Return the referee's clone before training, which is the same for every match of a seed."""
        rng = self._site.secret.generator(self.matchup.seed, "referee", "initialisation")
        return build(self.matchup.recipe.arch, self._task, rng=rng).to(self._site.device)

    def trained(self, inputs: Tensor, rows: Tensor) -> nn.Module:
        """Return a clone trained on inputs (N, *shape) with rows (N, K), from the cache if it holds one."""
        clone = self.fresh()

        def train() -> bytes:
            rng = self._site.secret.generator(self.matchup.seed, "referee", "training")
            distil(clone, inputs, rows, rng=rng, steps=self.matchup.recipe.steps)
            return save_state(clone.state_dict())

        clone.load_state_dict(load_state(self._cache.once(self._key(inputs, rows), train)))
        return clone.eval()

    def _key(self, inputs: Tensor, rows: Tensor) -> str:
        """Return the key of a clone, a digest of its recipe, seed, task, transfer set, and the code that trains it."""
        about = (self.matchup.recipe, self.matchup.seed, self._task.shape, self._task.classes)
        machine = (torch.__version__, torch.device(self._site.device).type, self._site.secret.digest)
        return "clone-" + digest_of([repr(about), repr(machine), code_digest_of(CLONE_RECIPE), inputs, rows])


class _Judge:
    """Compares clones with the undefended victim, and with the deployed defense where its decisions differ."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.deployed: Tensor | None = None  # the defense's decisions on the test rows; None: they are the victim's
        self.found = CloneScores()

    def victim(self) -> None:
        """Score the victim itself, and measure how evenly uniform inputs spread over its classes."""
        reference, found = self.reference, self.found
        found.counts[names.VICTIM_ACCURACY] = agreement(labels_of(reference.posteriors), reference.labels)
        share = majority_share(labels_of(reference.uniform_posteriors))
        found.measures[names.UNIFORM_LARGEST_SHARE] = share
        if share > DEGENERATE_SHARE:
            found.flags.append(UNIFORM_DEGENERATE)

    def defended_by(self, served: Tensor) -> None:
        """Score what a defense serves, and compare clones with it too if it decides any test row otherwise."""
        victims = labels_of(self.reference.posteriors)
        self.found.counts[names.DEPLOYED_ACCURACY] = agreement(served, self.reference.labels)
        decided = torch.where(served == REFUSED, victims, served)
        self.deployed = None if torch.equal(decided, victims) else decided

    def clone(self, track: str, clone: nn.Module) -> None:
        """Score one clone: accuracy, fidelity and both distances on test rows and uniform inputs."""
        reference, found, answer = self.reference, self.found, posteriors_of(clone)
        test, uniform = answer(reference.inputs), answer(reference.uniform)  # both before anything is counted
        self._on_test_rows(track, test)
        self._confused(track, labels_of(test))
        theirs, ours = labels_of(reference.uniform_posteriors), labels_of(uniform)
        found.counts[names.clone_count(track, "fidelity_unif")] = agreement(ours, theirs)
        kappa = cohen_kappa(ours, theirs, classes=reference.victim.task.classes)
        found.measures[names.clone_measure(track, "unif_kappa")] = kappa
        found.measures[names.clone_measure(track, "tv_test")] = _distance(test, reference.posteriors)
        found.measures[names.clone_measure(track, "tv_unif")] = _distance(uniform, reference.uniform_posteriors)

    def point(self, rows: int, clone: nn.Module) -> None:
        """Score a clone of the learning curve, which was trained on the first ``rows`` rows."""
        self._on_test_rows(names.curve_track(rows), posteriors_of(clone)(self.reference.inputs))

    def _confused(self, track: str, labels: Tensor) -> None:
        """Count which classes the clone of track A or B confuses, unless there are too many classes to read it."""
        reference = self.reference
        classes = reference.victim.task.classes
        if track not in ("a", "b") or classes > MOST_CONFUSED_CLASSES:
            return
        self.found.confusions[track] = Confusion(
            track="a" if track == "a" else "b",
            classes=classes,
            victim=confusion_counts(labels_of(reference.posteriors), labels, classes=classes),
            labels=confusion_counts(reference.labels, labels, classes=classes),
        )

    def _on_test_rows(self, track: str, posteriors: Tensor) -> None:
        reference, counts, labels = self.reference, self.found.counts, labels_of(posteriors)
        counts[names.clone_count(track, "accuracy")] = agreement(labels, reference.labels)
        counts[names.clone_count(track, "fidelity")] = agreement(labels, labels_of(reference.posteriors))
        if self.deployed is not None:
            counts[names.clone_count(track, "fidelity_deployed")] = agreement(labels, self.deployed)


def _distance(first: Tensor, second: Tensor) -> float:
    return float(total_variation(first, second).mean())
