"""Answer in-distribution queries honestly, and out-of-distribution queries from a model trained to be wrong.

Source: Kariyappa, Qureshi, "Defending Against Model Stealing Attacks with Adaptive Misinformation", CVPR 2020, arXiv
1911.07100. A query counts as out-of-distribution if the largest posterior is low, for a victim trained with outlier
exposure: Hendrycks, Mazeika, Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019, arXiv 1812.04606.
Departures: ``tau`` is calibrated unless it is set: on the training rows, each judged by a network that was exposed
without it. ``nu`` is 1,000, where the authors' code has 10,000; both are nearly a step. The misinformation network
learns from training rows alone; the authors' also learns from outliers. Without outliers, or with ``expose = False``,
the plain victim answers and serves as the detector, and tau is calibrated on the validation rows, which are few.
Facts of the result: ``tau``, ``calibration_rows``, and ``benign_rows_misled``, the share of the validation rows below
tau.
Which queries it deceives depends mainly on its outliers, so always report them with its results.
Published number: none on equal terms. Reproduced: formula; direction (with outliers of the pool's kind it misleads
nearly the whole pool at the cost of 1 % of benign rows, with others hardly more of the pool than without outliers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, Defense, DefenseContext, Need, Note, Responder, State, Victim
from arena.defenses.parts.calibration import folds, lowest_share
from arena.defenses.parts.defender_networks import ReplacedVictim, network_like_victim, restored, stored
from arena.learning.composition import answered_by, transformed
from arena.learning.randomness import child
from arena.learning.training import BATCH, batches, descent, predict

NOT_MISLED = 1e-6  # weights of the misinformation below this change nothing
EXPOSED, MISINFORMATION = "exposed", "misinformation"  # the names of its networks in the state
CONFIDENCE, CALIBRATION = "confidence", "calibration"  # and of the largest posteriors on validation and training rows


@dataclass(frozen=True, kw_only=True)
class AdaptiveMisinformation(Defense):
    """Misleads rows whose largest posterior is below ``tau``; the larger ``nu``, the more abrupt the transition.

    ``cost`` is the share of benign rows that a calibrated tau misleads. With ``expose``, the answering network is
    trained with outliers of weight ``exposure``, and again for each of ``folds`` folds of the training rows on which tau
    is calibrated. Each network is trained for ``steps`` steps.
    """

    optional_needs: ClassVar[frozenset[Need]] = frozenset({"outliers"})
    trained_by: ClassVar[frozenset[str]] = frozenset({"expose", "exposure", "folds", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("tau", tuple(number / 20 for number in range(21)))

    tau: float | None = None
    cost: float = 0.01
    nu: float = 1_000.0
    expose: bool = True
    exposure: float = 1.0
    folds: int = 5
    steps: int = 2_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "replaces_victim", self.expose)  # a class variable of ordinary defenses
        if self.tau is not None and not 0 <= self.tau <= 1:
            message = f"tau = {self.tau} must lie in [0, 1], as posteriors do"
            raise BadParameter(message)
        if not 0 <= self.cost < 1 or self.nu <= 0 or self.exposure < 0 or self.steps < 1 or self.folds < 2:
            message = (
                f"cost = {self.cost} must lie in [0, 1), nu = {self.nu} must be more than 0, "
                f"exposure = {self.exposure} at least 0, folds = {self.folds} at least 2 and steps = {self.steps} at "
                "least 1"
            )
            raise BadParameter(message)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Train two networks, and record how confident the answering one is on benign rows that it has not seen."""
        inputs, labels = (part.to(context.device) for part in context.training)
        outliers = self._outliers(context)
        state: dict[str, Tensor] = {}
        answering = context.victim
        if outliers is not None:
            outliers = outliers.to(context.device)
            exposed = network_like_victim(context, rng=rng)
            self._expose(exposed, inputs, labels, outliers, rng=child(rng))
            state |= stored(exposed, EXPOSED)
            answering = ReplacedVictim(module=exposed, task=context.victim.task)
        misinforming = network_like_victim(context, rng=rng)
        self._misinform(misinforming, inputs, labels, rng=child(rng))
        state |= stored(misinforming, MISINFORMATION)
        validation, _ = context.validation
        state[CONFIDENCE] = answering(validation).amax(dim=1) if len(validation) else torch.empty(0)
        if outliers is not None and len(inputs) > 1:
            state[CALIBRATION] = self._calibration(context, outliers, rng=child(rng))
        return state

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        answering: Victim = context.victim
        if self._outliers(context) is not None:
            answering = ReplacedVictim(module=restored(state, EXPOSED, context), task=context.victim.task)
        misinforming = restored(state, MISINFORMATION, context)
        tau = self._tau(state, note=context.note)

        def mislead(rows: Tensor, inputs: Tensor) -> Tensor:
            weights = misleading_weights(rows, tau=tau, nu=self.nu)
            if float(weights.max()) < NOT_MISLED:
                return rows
            return misled(rows, predict(misinforming, inputs), weights)

        return transformed(answered_by(answering), lambda rows, queries: mislead(rows, queries.inputs))

    def _tau(self, state: State, *, note: Note) -> float:
        """Return the threshold, and state what it costs the validation rows."""
        benign, confidence, tau = calibrating_confidence(state), state[CONFIDENCE], self.tau
        if tau is None:
            tau = lowest_share(benign, share=self.cost)
            note("calibration_rows", len(benign))
        note("tau", tau)
        if len(confidence):
            note("benign_rows_misled", float((confidence < tau).float().mean()))
        return tau

    def _calibration(self, context: DefenseContext, outliers: Tensor, *, rng: Generator) -> Tensor:
        """Return the confidence (N,) on every training row of a network that was exposed without that row."""
        inputs, labels = (part.to(context.device) for part in context.training)
        confidence = []
        for fold in folds(len(inputs), self.folds, rng=child(rng)):
            network = network_like_victim(context, rng=rng)
            self._expose(network, inputs[fold.learnt], labels[fold.learnt], outliers, rng=child(rng))
            confidence.append(predict(network, context.training[0][fold.held]).amax(dim=1))
        return torch.cat(confidence)

    def _outliers(self, context: DefenseContext) -> Tensor | None:
        """Return the outliers to which the answering network is exposed, or None if the victim answers."""
        return context.outliers if self.expose and context.outliers is not None and len(context.outliers) else None

    def _expose(self, network: nn.Module, inputs: Tensor, labels: Tensor, outliers: Tensor, *, rng: Generator) -> None:
        outlier_batches = batches(len(outliers), batch=BATCH, steps=self.steps, rng=child(rng))

        def backward(chosen: Tensor) -> None:
            on_training = cross_entropy(network(inputs[chosen]), labels[chosen])
            (on_training + self.exposure * uniform_cross_entropy(network(outliers[next(outlier_batches)]))).backward()

        for _ in descent(network, backward, rows=len(inputs), steps=self.steps, rng=rng):
            pass

    def _misinform(self, network: nn.Module, inputs: Tensor, labels: Tensor, *, rng: Generator) -> None:
        def backward(chosen: Tensor) -> None:
            wrong_answer_loss(network(inputs[chosen]), labels[chosen]).backward()

        for _ in descent(network, backward, rows=len(inputs), steps=self.steps, rng=rng):
            pass


def calibrating_confidence(state: State) -> Tensor:
    """Return the largest posteriors (N,) of the benign rows on which tau is calibrated."""
    return state.get(CALIBRATION, state[CONFIDENCE])


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """Return the mean over rows of -1/K sum_k log p_k, which is at least log K."""
    return -logits.log_softmax(dim=1).mean()


def wrong_answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over rows of -log(1 - p_y) for logits (N, K); finite even where p_y rounds to 1 in float32."""
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf)
    return (logits.logsumexp(dim=1) - others.logsumexp(dim=1)).mean()


def misleading_weights(posteriors: Tensor, *, tau: float, nu: float) -> Tensor:
    """Return sigmoid(-nu (max_k y_k - tau)) as (N, 1) float64, which is above one half for rows below tau."""
    return torch.sigmoid(-nu * (posteriors.double().amax(dim=1, keepdim=True) - tau))


def misled(posteriors: Tensor, misinformation: Tensor, weights: Tensor) -> Tensor:
    """Return (1 - a) y + a y' as (N, K) float64, for misinformation y' and weights a (N, 1)."""
    return (1 - weights) * posteriors.double() + weights * misinformation.double()
