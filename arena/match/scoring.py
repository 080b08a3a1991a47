"""Scoring by the referee alone: clones on rows that no player has seen, the defense on its honest traffic."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from arena.contracts import Defense, Explainer, MatchResult, Matchup, QueryBatch, Responder, Spec, Verdict, matchup_id
from arena.learning.architectures import build
from arena.learning.distillation import distil, mean_divergence
from arena.learning.randomness import generator
from arena.learning.training import hardened, one_thread
from arena.match.assessment import assess
from arena.match.attacking import AttackReport
from arena.match.clones import posteriors_of
from arena.match.deployment import deploy
from arena.match.preparation import Prepared, honest_traffic
from arena.match.session import MAX_ROWS
from arena.match.site import Site
from arena.match.transcript import Transcript
from arena.match.victims import NetworkVictim, load_splits, load_victim
from arena.metrics.attribution import drops, map_agreement
from arena.metrics.fidelity import agreement, cohen_kappa, labels_of, largest_share, total_variation
from arena.metrics.utility import broken_promises, utility

UNIFORM_ROWS = 10_000
DEGENERATE_SHARE = 0.9  # of uniform inputs that the victim gives to one class: R_unif then says little
UNDERTRAINED_SOFT, UNDERTRAINED_HARD = 0.03, 0.1  # nats of mean divergence on the transfer set, undefended
EXPLAINED_ROWS = 200  # of the maps that an attack was given, which are compared with the victim's own
UNDEFENDED = "none"

Counts = dict[str, tuple[int, int]]
Measures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A result, and the PNG files that belong to it by name."""

    result: MatchResult
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def kept(self, folder: Path | None) -> MatchResult:
        """Write the pictures to ``folder``, if there is one, and return the result."""
        if folder is not None and self.pictures:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in self.pictures.items():
                (folder / name).write_bytes(data)
        return self.result


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What every clone of a victim is compared with; made once per victim and process."""

    victim: NetworkVictim
    inputs: Tensor  # test rows
    labels: Tensor
    posteriors: Tensor  # the undefended victim's, on the test rows
    uniform: Tensor  # 10,000 rows of U[0, 1]^d, the same for all matches of a shape
    uniform_posteriors: Tensor


@functools.lru_cache(maxsize=8)
def load_reference(victim: Spec, seed: int, site: Site) -> Reference:
    """Return the test rows and uniform inputs of a victim with its undefended posteriors."""
    network = load_victim(victim, seed, site)
    inputs, labels = load_splits(victim, site.data).test
    shape = network.task.shape
    uniform = torch.rand(UNIFORM_ROWS, *shape, generator=generator(0, "uniform", str(shape)))
    with one_thread():
        return Reference(
            victim=network,
            inputs=inputs,
            labels=labels,
            posteriors=network(inputs),
            uniform=uniform,
            uniform_posteriors=network(uniform),
        )


def result_of(
    matchup: Matchup,
    *,
    attempt: int,
    site: Site,
    defense: Defense,
    report: AttackReport,
    prepared: Prepared | None = None,
    transcript: Transcript | None = None,
    defense_fault: str = "",
    flags: tuple[str, ...] = (),
    measures: Mapping[str, float] | None = None,
    isolation: str = "in-process",
) -> Scored:
    """Score what a match left and return its result.

    Without a transcript nothing was played, and only the verdict is told. Tracks A and A-hard are trained on the
    answers that were given; if there are none, the floor stands. Utility is that of the honest rows that were
    answered: what a faulty defense left unanswered, the referee knows from the undefended match.
    """
    verdict = report.verdict
    if defense_fault and verdict.outcome != "infrastructure":
        verdict = Verdict(outcome="crashed", fault="defense", stage="play", reason=defense_fault, output=verdict.output)
    if transcript is None or verdict.outcome == "infrastructure":
        return Scored(
            result=MatchResult(
                matchup=matchup,
                attempt=attempt,
                verdict=verdict,
                isolation=isolation,
                flags=flags,
                measures=measures or {},
            )
        )
    assert prepared is not None, "what was played was prepared"
    wall, cpu = time.perf_counter(), time.process_time()
    with one_thread():
        score = _Score(matchup, site, transcript, report.clone)
        if defense.replaces_victim and verdict.fault != "defense":
            score.deployed = _answers(deploy(matchup, defense, prepared), score.reference.inputs)
        score.clones()
        score.honest_utility(defense)
        score.explanations(prepared.ground.explainer)
        pictures: dict[str, bytes] = {}
        if matchup.threats and verdict.fault != "defense" and score.finished is not None:
            found = assess(
                matchup, score.finished, defense=defense, prepared=prepared, transcript=transcript, site=site
            )
            score.counts |= found.counts
            score.measures |= found.measures
            pictures = {f"{matchup_id(matchup)}-{name}.png": data for name, data in found.grids.items()}
    result = MatchResult(
        matchup=matchup,
        attempt=attempt,
        verdict=verdict,
        isolation=isolation,
        transcript_digest=transcript.digest,
        clone_digest=report.clone_digest,
        spent=transcript.counts.spent,
        rows=transcript.counts.rows,
        distinct_rows=transcript.counts.distinct_rows,
        calls=transcript.counts.calls,
        counts=score.counts,
        measures={
            **(measures or {}),
            **score.measures,
            "attack/wall_seconds": report.wall_seconds,
            "attack/cpu_seconds": report.cpu_seconds,
            "score/wall_seconds": time.perf_counter() - wall,
            "score/cpu_seconds": time.process_time() - cpu,
            "attack/unspent": float(matchup.budget - transcript.counts.spent),
        },
        pictures=tuple(sorted(pictures)),
        flags=(*flags, *score.flags, *(("timed",) if report.timed else ())),
    )
    return Scored(result=result, pictures=pictures)


def _answers(respond: Responder, inputs: Tensor) -> Tensor:
    """Return what a fresh responder releases for inputs (N, *shape), as (N, K)."""
    return torch.cat([respond(QueryBatch(inputs=rows)).posteriors for rows in inputs.split(MAX_ROWS)])


class _Score:
    """Fills counts, measures and flags of one match."""

    def __init__(self, matchup: Matchup, site: Site, transcript: Transcript, clone: nn.Module | None) -> None:
        self._matchup, self._site, self._transcript, self._clone = matchup, site, transcript, clone
        self.reference = load_reference(matchup.victim, matchup.victim_seed, site)
        self.deployed: Tensor | None = None  # posteriors on the test rows of a defense that replaces the victim
        self.finished = clone  # the attack's, else the referee's of track A
        self.counts: Counts = {}
        self.measures: Measures = {}
        self.flags: list[str] = []

    def clones(self) -> None:
        """Score the victim, the floor, the attack's clone, and the referee's clones of tracks A and A-hard."""
        reference, transcript = self.reference, self._transcript
        self.counts["victim/accuracy"] = agreement(labels_of(reference.posteriors), reference.labels)
        if self.deployed is not None:
            self.counts["deployed/accuracy"] = agreement(labels_of(self.deployed), reference.labels)
        share = largest_share(labels_of(reference.uniform_posteriors))
        self.measures["victim/unif_largest_share"] = share
        if share > DEGENERATE_SHARE:
            self.flags.append("uniform inputs degenerate")
        self._judge("floor", self._fresh().eval())
        if self._clone is not None:
            self._judge("b", self._clone)
        inputs, released = transcript.attack_inputs, transcript.attack_posteriors
        if not len(inputs) or not bool((released.sum(dim=1) > 0).any()):
            return
        soft = self._distilled(inputs, released)
        self._judge("a", soft)
        self.finished = self.finished or soft
        hard_rows = hardened(released)
        hard = soft if torch.equal(hard_rows, released) else self._distilled(inputs, hard_rows)
        self._judge("a-hard", hard)
        self._check_training(soft, inputs, released)
        for point in self._matchup.curve:
            if point < len(inputs):
                self._judge(f"curve/{point}/a", self._distilled(inputs[:point], released[:point]))
        self.counts[f"curve/{len(inputs)}/a/accuracy"] = self.counts["a/accuracy"]
        self.counts[f"curve/{len(inputs)}/a/fidelity"] = self.counts["a/fidelity"]

    def honest_utility(self, defense: Defense) -> None:
        """Count what honest users got, and where the defense broke what it promised."""
        transcript, victim = self._transcript, self.reference.victim
        if transcript.honest_calls:
            traffic = honest_traffic(self._matchup, self._site)
            rows, refused = transcript.honest_posteriors, transcript.honest_refused
            clean = victim(transcript.honest_inputs)
            labels = traffic.labels([call.queries for call in transcript.honest_calls])
            got = utility(released=rows, refused=refused, clean=clean, labels=labels)
            self.counts |= {f"utility/{name}": count for name, count in got.counts.items()}
            self.measures |= {f"utility/{name}": value for name, value in got.measures.items()}
        inputs = torch.cat([transcript.attack_inputs, transcript.honest_inputs])
        if len(inputs):
            broken = broken_promises(
                defense.promise,
                clean=victim(inputs),
                released=torch.cat([transcript.attack_posteriors, transcript.honest_posteriors]),
                refused=torch.cat([transcript.attack_refused, transcript.honest_refused]),
                decimals=self._matchup.decimals,
            )
            self.counts |= {f"promise/{name}": count for name, count in broken.items()}

    def explanations(self, explainer: Explainer | None) -> None:
        """Compare the maps that were released to the attack with the victim's own, as explanations of the victim."""
        calls = [call for call in self._transcript.attack_calls if call.explanations is not None]
        if explainer is None or not calls or len(self.reference.victim.task.shape) != 3:
            return
        answers = [call.answer for call in calls]
        inputs = torch.cat([call.queries.inputs for call in calls])[:EXPLAINED_ROWS]
        classes = labels_of(torch.cat([answer.posteriors for answer in answers])[:EXPLAINED_ROWS])
        released = torch.cat([answer.explanations for answer in answers if answer.explanations is not None])
        own, released = explainer(inputs, classes), released[: len(inputs)]
        victim = self.reference.victim
        theirs, ours = (drops(victim, inputs, maps, classes) for maps in (released, own))
        correlation, overlap = map_agreement(released, own)
        self.measures |= {
            "explanation/average_drop": float(theirs.mean()),
            "explanation/average_drop_own": float(ours.mean()),
            "explanation/top_overlap": overlap,
        }
        if correlation == correlation:  # NaN where every map is the same everywhere
            self.measures["explanation/rank_correlation"] = correlation

    def _judge(self, track: str, clone: nn.Module) -> None:
        """Score one clone: accuracy, fidelity and both distances on test rows and uniform inputs."""
        reference, answer = self.reference, posteriors_of(clone)
        test = answer(reference.inputs)
        self.counts[f"{track}/accuracy"] = agreement(labels_of(test), reference.labels)
        self.counts[f"{track}/fidelity"] = agreement(labels_of(test), labels_of(reference.posteriors))
        if self.deployed is not None:
            self.counts[f"{track}/fidelity_deployed"] = agreement(labels_of(test), labels_of(self.deployed))
        if track.startswith("curve/"):
            return
        uniform = answer(reference.uniform)
        theirs, ours = labels_of(reference.uniform_posteriors), labels_of(uniform)
        self.counts[f"{track}/fidelity_unif"] = agreement(ours, theirs)
        self.measures[f"{track}/unif_kappa"] = cohen_kappa(ours, theirs, classes=reference.victim.task.classes)
        self.measures[f"{track}/tv_test"] = float(total_variation(test, reference.posteriors).mean())
        self.measures[f"{track}/tv_unif"] = float(total_variation(uniform, reference.uniform_posteriors).mean())

    def _fresh(self) -> nn.Module:
        """Return the referee's clone before training: the same for every match of a seed."""
        rng = generator(self._matchup.seed, "referee", "initialisation")
        return build(self._matchup.recipe.arch, self.reference.victim.task, rng=rng).to(self._site.device)

    def _distilled(self, inputs: Tensor, rows: Tensor) -> nn.Module:
        rng = generator(self._matchup.seed, "referee", "training")
        return distil(self._fresh(), inputs, rows, rng=rng, steps=self._matchup.recipe.steps)

    def _check_training(self, clone: nn.Module, inputs: Tensor, released: Tensor) -> None:
        divergence = mean_divergence(clone, inputs, released)
        self.measures["a/divergence"] = divergence
        limit = UNDERTRAINED_HARD if torch.equal(hardened(released), released) else UNDERTRAINED_SOFT
        if self._matchup.defense.name == UNDEFENDED and divergence > limit:
            self.flags.append("undertrained")
