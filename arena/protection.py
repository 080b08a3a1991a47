"""A defense as a plain callable around any model: what the tournament releases, without ray, grpc or mlflow."""

from __future__ import annotations

import threading
import typing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arena.contracts import (
    Answer,
    BadParameter,
    Defense,
    DefenseContext,
    InvalidQuery,
    Knowledge,
    NeedUnmet,
    Parameter,
    QueryBatch,
    Responder,
    Spec,
    SurrogateKind,
    Task,
)
from arena.learning.adapted import Adapted, own_copy
from arena.learning.composition import ComposableDefense
from arena.learning.tensors import canonical
from arena.learning.training import one_thread, predict
from arena.match.secret import PUBLIC, Secret
from arena.match.surrogates import make_surrogate
from arena.oracle.guard import check_answer
from arena.oracle.terms import MAX_ROWS, OracleTerms
from arena.registry import build_defense, complete

SURROGATES: tuple[SurrogateKind, ...] = typing.get_args(typing.get_type_hints(Knowledge)["surrogate"])

Rows: typing.TypeAlias = Tensor | npt.NDArray[np.float32]
"""Inputs (N, *shape) float32 in [0, 1]."""

Labelled: typing.TypeAlias = tuple[Rows, Tensor | npt.NDArray[np.int64]]
"""Inputs and labels (N,) of whole numbers."""


def protect(
    model: nn.Module,
    defense: str,
    *,
    training: Labelled | None = None,
    validation: Labelled | None = None,
    outliers: Rows | None = None,
    surrogate: SurrogateKind | nn.Module = "random",
    probabilities: bool = False,
    seed: int = 0,
    training_seed: int | None = None,
    secret: str | Secret = PUBLIC,
    **parameters: Parameter,
) -> Protected:
    """Return ``model`` (inputs (N, *shape) in [0, 1] to logits) behind a defense, by name or folder, and parameters.

    A copy of the model is protected, in float32, in eval mode and on the model's device, so that the model itself stays
    as it is. Its output may also be a tuple, a mapping or an object with ``logits``; with ``probabilities``, it is
    posteriors. `Adapted` says more.

    What a defense learns it learns here, from ``training`` rows, which a trained surrogate needs too, ``validation`` rows
    and ``outliers``; without training rows the first call tells the shape of an input.

    The defense and its surrogate are trained with ``training_seed`` (by default ``seed``), and deployed with ``seed``;
    ``secret``, as a tournament's file states it or an `arena.match.secret.Secret`, is mixed into both. Whoever knows all
    three can compute the noise. The released rows equal, bit for bit, those of a match with the seed ``seed``, a victim
    of the seed ``training_seed`` and this secret.

    Raises `UnknownName` or `BadParameter` for a defense or a parameter that is not there, `NeedUnmet` if it needs
    outliers or training rows that are not given, and `BadParameter` or `InvalidQuery` for a model that does not answer
    logits, at once or, without training rows, at the first call.
    """
    player = build_defense(complete("defense", Spec(name=defense, params=tuple(sorted(parameters.items())))))
    if "outliers" in player.needs and outliers is None:
        message = f"defense {defense} needs outliers: inputs (M, *shape) that are not of the model's kind"
        raise NeedUnmet(message)
    if isinstance(surrogate, str) and (surrogate == "attacker" or surrogate not in SURROGATES):
        message = f"surrogate = {surrogate!r}: no attacker plays here; it is a network of logits, random, "
        message += "same-architecture or other-architecture"
        raise BadParameter(message)
    trained = isinstance(surrogate, str) and surrogate not in ("none", "random") and "surrogate" in player.needs
    if training is None and (trained or _learns(player)):
        message = f"defense {defense} or its surrogate is trained here: give training = (inputs, labels)"
        raise NeedUnmet(message)
    learned = Learned(
        training=None if training is None else _labelled("training", training),
        validation=None if validation is None else _labelled("validation", validation),
        outliers=None if outliers is None else _tensor(outliers),
        surrogate=surrogate,
        randomness=Randomness(
            training_seed=seed if training_seed is None else training_seed,
            seed=seed,
            secret=Secret.stated(secret) if isinstance(secret, str) else secret,
        ),
    )
    return Protected(Adapted(model, probabilities=probabilities), player, learned)


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """Where the random draws of a protected model come from, as in a match."""

    training_seed: int  # of the defense and its surrogate; in a match the victim's seed
    seed: int  # of the deployed defense; in a match the match's seed
    secret: Secret


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """From what a defense learns, and how it draws."""

    training: tuple[Tensor, Tensor] | None
    validation: tuple[Tensor, Tensor] | None
    outliers: Tensor | None
    surrogate: SurrogateKind | nn.Module
    randomness: Randomness


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnVictim:
    """A model of somebody's own behind the `Victim` protocol; posteriors come back on the CPU."""

    network: Adapted
    module: nn.Module | None
    task: Task

    def __call__(self, inputs: Tensor) -> Tensor:
        """Raises `BadParameter` for answers that are not finite."""
        posteriors = predict(self.network, inputs)
        wrong = int((~posteriors.isfinite().all(dim=1)).sum())
        if wrong:
            message = (
                f"the model's logits are not finite for {wrong} of {len(inputs)} rows, so there are no probabilities to "
                "release: check its weights, and that it expects inputs in [0, 1]"
            )
            raise BadParameter(message)
        return posteriors


def _learns(defense: Defense) -> bool:
    """Whether a defense, or one below it, has something to train."""
    below = defense.base if isinstance(defense, ComposableDefense) else None
    own = type(defense).train not in (Defense.train, ComposableDefense.train)
    return own or (below is not None and _learns(below))


class Protected:
    """Inputs (N, *shape) float32 in [0, 1] to released posteriors (N, K) float32; refused rows are zeros.

    Inputs may be a NumPy array; answers are tensors on the CPU. May be called from several threads, one of which is
    answered at a time; defenses with a memory have one over all calls since it was made.
    """

    def __init__(self, network: Adapted, defense: Defense, learned: Learned) -> None:
        self._network, self.defense, self._learned = network, defense, learned
        self._lock = threading.Lock()
        self._deployed: tuple[Responder, Task] | None = None
        if learned.training is not None:
            self._deployed = self._deploy(learned.training[0][:1])

    def __call__(self, inputs: Rows, *, account: int = 0) -> Tensor:
        """Return the released rows; ``account`` tells users apart for defenses that watch them."""
        return self.answer(inputs, account=account).posteriors

    def answer(self, inputs: Rows, *, account: int = 0) -> Answer:
        """Return the released rows and which of them are refused.

        Raises `InvalidQuery` for inputs that the model does not take, `BadParameter` if the model answers no finite
        logits, and `DefenseFault` if the defense answers off the simplex.
        """
        inputs, parts = _tensor(inputs), []
        with self._lock, one_thread():
            respond, task = self._ready_for(inputs)
            _check(inputs, task)
            for rows in inputs.split(MAX_ROWS):
                answer = respond(QueryBatch(inputs=canonical(rows), account=account))
                check_answer(answer, rows=len(rows), classes=task.classes)
                parts.append(answer)
        return Answer(
            posteriors=torch.cat([part.posteriors for part in parts]).detach().cpu(),
            refused=torch.cat([part.refused for part in parts]).cpu(),
        )

    def _ready_for(self, inputs: Tensor) -> tuple[Responder, Task]:
        """Return the deployed defense and its task, which the first inputs define if no data set did."""
        if self._deployed is None:
            _check(inputs, Task(shape=tuple(getattr(inputs, "shape", ())[1:]), classes=0))
            self._deployed = self._deploy(inputs[:1])
        return self._deployed

    def _deploy(self, example: Tensor) -> tuple[Responder, Task]:
        """Train what must be trained and return what answers; ``example`` (1, *shape) tells the shape of inputs."""
        learned, drawn = self._learned, self._learned.randomness
        task = Task(shape=tuple(example.shape[1:]), classes=self._network.tried(example))
        self.defense.check(task)
        _check_learned(learned, task)
        victim = OwnVictim(network=self._network, module=self._network.weights(example), task=task)
        nothing = (torch.empty(0, *task.shape), torch.empty(0, dtype=torch.int64))
        training = learned.training or nothing
        context = DefenseContext(
            victim=victim,
            device=self._network.device,
            training=training,
            validation=learned.validation or nothing,
            outliers=learned.outliers,
            surrogate=self._stand_in(victim, training[0]),
        )
        with one_thread():
            state = self.defense.train(context, rng=drawn.secret.generator(drawn.training_seed, "defense", "training"))
        return self.defense.deploy(context, state, rng=drawn.secret.generator(drawn.seed, "defense")), task

    def _stand_in(self, victim: OwnVictim, inputs: Tensor) -> nn.Module | None:
        """Return the surrogate on the model's device, None if the defense needs none."""
        made, drawn = self._learned.surrogate, self._learned.randomness
        if "surrogate" not in self.defense.needs or made == "none":
            return None
        if isinstance(made, str):
            made = make_surrogate(made, victim, inputs, seed=drawn.training_seed, secret=drawn.secret.value)
        return own_copy(made, device=self._network.device, name="surrogate")


def _check(inputs: Tensor, task: Task) -> None:
    OracleTerms(task=task, budget=0).check(QueryBatch(inputs=inputs))


def _tensor(rows: Tensor | npt.NDArray[np.generic]) -> Tensor:
    return torch.tensor(rows) if isinstance(rows, np.ndarray) else rows


def _labelled(name: str, given: Labelled) -> tuple[Tensor, Tensor]:
    """Return inputs and labels as tensors. Raises `BadParameter` if they are no pair of equally many."""
    if not isinstance(given, tuple | list) or len(given) != 2 or len(given[0]) != len(given[1]):
        message = f"{name} must be a pair (inputs, labels) with one label for each input"
        raise BadParameter(message)
    inputs, labels = _tensor(given[0]), _tensor(given[1])
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        message = f"{name}: labels must be whole numbers (N,), not {labels.dtype} of shape {tuple(labels.shape)}"
        raise BadParameter(message)
    return inputs, labels.to(torch.int64)


def _check_learned(learned: Learned, task: Task) -> None:
    """Raise `BadParameter` for rows that the model does not take, and for labels of classes that it does not have."""
    sets = {"training": learned.training, "validation": learned.validation}
    inputs = {**{name: rows[0] for name, rows in sets.items() if rows}, "outliers": learned.outliers}
    for name, rows in inputs.items():
        if rows is not None and len(rows):
            try:
                _check(rows, task)
            except InvalidQuery as error:
                message = f"{name}: {error}"
                raise BadParameter(message) from error
    for name, pair in sets.items():
        if pair and len(pair[1]) and not 0 <= int(pair[1].min()) <= int(pair[1].max()) < task.classes:
            message = (
                f"{name}: labels range from {int(pair[1].min())} to {int(pair[1].max())}, but the model has "
                f"{task.classes} classes, 0 to {task.classes - 1}"
            )
            raise BadParameter(message)
