"""A defense as a plain callable around any model: what the tournament releases, without ray, grpc or mlflow."""

from __future__ import annotations

import threading
import typing
from dataclasses import dataclass

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
from arena.learning.composition import ComposableDefense
from arena.learning.tensors import canonical
from arena.learning.training import one_thread
from arena.match.secret import PUBLIC, Secret
from arena.match.surrogates import make_surrogate
from arena.match.victims import NetworkVictim
from arena.oracle.guard import check_answer
from arena.oracle.terms import MAX_ROWS, OracleTerms
from arena.registry import build_defense, complete

SURROGATES: tuple[SurrogateKind, ...] = typing.get_args(typing.get_type_hints(Knowledge)["surrogate"])

Labelled: typing.TypeAlias = tuple[Tensor, Tensor]
"""Inputs (N, *shape) float32 in [0, 1] and labels (N,) int64."""


def protect(
    model: nn.Module,
    defense: str,
    *,
    training: Labelled | None = None,
    validation: Labelled | None = None,
    outliers: Tensor | None = None,
    surrogate: SurrogateKind | nn.Module = "random",
    seed: int = 0,
    training_seed: int | None = None,
    secret: str | Secret = PUBLIC,
    **parameters: Parameter,
) -> Protected:
    """Return ``model`` (inputs (N, *shape) in [0, 1] to logits) behind a defense, by name or folder, and parameters.

    What a defense learns it learns here, from ``training`` rows, which a trained surrogate needs too, ``validation`` rows
    and ``outliers``; without training rows the first call tells the shape of an input.

    The defense and its surrogate are trained with ``training_seed`` (by default ``seed``), and deployed with ``seed``;
    ``secret``, as a tournament's file states it or an `arena.match.secret.Secret`, is mixed into both. Whoever knows all
    three can compute the noise. The released rows equal, bit for bit, those of a match with the seed ``seed``, a victim
    of the seed ``training_seed`` and this secret.

    Raises `UnknownName` or `BadParameter` for a defense or a parameter that is not there, `NeedUnmet` if it needs
    outliers or training rows that are not given.
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
    randomness = Randomness(
        training_seed=seed if training_seed is None else training_seed,
        seed=seed,
        secret=Secret.stated(secret) if isinstance(secret, str) else secret,
    )
    return Protected(model, player, training, validation, outliers, surrogate, randomness)


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """Where the random draws of a protected model come from, as in a match."""

    training_seed: int  # of the defense and its surrogate; in a match the victim's seed
    seed: int  # of the deployed defense; in a match the match's seed
    secret: Secret


def _learns(defense: Defense) -> bool:
    """Whether a defense, or one below it, has something to train."""
    below = defense.base if isinstance(defense, ComposableDefense) else None
    own = type(defense).train not in (Defense.train, ComposableDefense.train)
    return own or (below is not None and _learns(below))


class Protected:
    """Inputs (N, *shape) float32 in [0, 1] to released posteriors (N, K) float32; refused rows are zeros.

    May be called from several threads, one of which is answered at a time; defenses with a memory have one over all
    calls since it was made.
    """

    def __init__(
        self,
        model: nn.Module,
        defense: Defense,
        training: Labelled | None,
        validation: Labelled | None,
        outliers: Tensor | None,
        surrogate: SurrogateKind | nn.Module,
        randomness: Randomness,
    ) -> None:
        self._model, self.defense = model.eval(), defense
        self._training, self._validation, self._outliers = training, validation, outliers
        self._surrogate, self._randomness = surrogate, randomness
        self._lock = threading.Lock()
        self._deployed: tuple[Responder, Task] | None = None
        if training is not None:
            self._deployed = self._deploy(training[0][:1])

    def __call__(self, inputs: Tensor, *, account: int = 0) -> Tensor:
        """Return the released rows; ``account`` tells users apart for defenses that watch them."""
        return self.answer(inputs, account=account).posteriors

    def answer(self, inputs: Tensor, *, account: int = 0) -> Answer:
        """Return the released rows and which of them are refused.

        Raises `InvalidQuery` for inputs that the model does not take, `DefenseFault` if the defense answers off the
        simplex.
        """
        parts = []
        with self._lock, one_thread():
            if self._deployed is None:
                _check(inputs, Task(shape=tuple(inputs.shape[1:]), classes=0))
                self._deployed = self._deploy(inputs[:1])
            respond, task = self._deployed
            _check(inputs, task)
            for rows in inputs.split(MAX_ROWS):
                answer = respond(QueryBatch(inputs=canonical(rows), account=account))
                check_answer(answer, rows=len(rows), classes=task.classes)
                parts.append(answer)
        return Answer(
            posteriors=torch.cat([part.posteriors for part in parts]).detach().cpu(),
            refused=torch.cat([part.refused for part in parts]).cpu(),
        )

    def _deploy(self, example: Tensor) -> tuple[Responder, Task]:
        """Train what must be trained and return what answers; ``example`` (1, *shape) tells the shape of inputs."""
        device = next(self._model.parameters()).device
        with torch.no_grad():
            logits = self._model(example.to(device))
        if logits.dim() != 2 or logits.shape[1] < 2:
            message = f"the model gives {tuple(logits.shape)} for one input, and logits (1, K) of K classes are wanted"
            raise InvalidQuery(message)
        task = Task(shape=tuple(example.shape[1:]), classes=logits.shape[1])
        self.defense.check(task)
        victim = NetworkVictim(self._model, task)
        nothing = (torch.empty(0, *task.shape), torch.empty(0, dtype=torch.int64))
        training = self._training or nothing
        context = DefenseContext(
            victim=victim,
            device=device,
            training=training,
            validation=self._validation or nothing,
            outliers=self._outliers,
            surrogate=self._stand_in(victim, training[0]),
        )
        drawn, secret = self._randomness, self._randomness.secret
        with one_thread():
            state = self.defense.train(context, rng=secret.generator(drawn.training_seed, "defense", "training"))
        return self.defense.deploy(context, state, rng=secret.generator(drawn.seed, "defense")), task

    def _stand_in(self, victim: NetworkVictim, inputs: Tensor) -> nn.Module | None:
        """Return the surrogate on the model's device, None if the defense needs none."""
        if "surrogate" not in self.defense.needs or self._surrogate == "none":
            return None
        made = self._surrogate
        if isinstance(made, str):
            drawn = self._randomness
            made = make_surrogate(made, victim, inputs, seed=drawn.training_seed, secret=drawn.secret.value)
        return made.to(next(self._model.parameters()).device).eval()


def _check(inputs: Tensor, task: Task) -> None:
    OracleTerms(task=task, budget=0).check(QueryBatch(inputs=inputs))
