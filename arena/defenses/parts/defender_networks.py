"""The defender's networks: those that it trains and keeps in its state, and its surrogate of the clone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.contracts import BadParameter, DefenseContext, NeedUnmet, Responder, State, Task
from arena.learning.architectures import architecture_of, build
from arena.learning.composition import answered_by
from arena.learning.training import padded_forward, predict


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplacedVictim:
    """A network with the interface of a `Victim`, for defenses that answer from a network other than the victim's."""

    module: nn.Module
    task: Task

    def __call__(self, inputs: Tensor) -> Tensor:
        return predict(self.module, inputs)


def network_like_victim(context: DefenseContext, *, rng: Generator) -> nn.Module:
    """Return a fresh network of the victim's architecture on the context's device, in training mode.

    It takes inputs as they are, without the normalisation that downloaded weights need. For a victim that only answers
    queries, or whose network is not one of ours, the architecture is ``auto``.
    """
    task = context.victim.task
    return build(architecture_of(context.victim.module, task), task, rng=rng).to(context.device)


def stored(network: nn.Module, name: str) -> dict[str, Tensor]:
    """Return a copy of a network's weights, under names that begin with ``name/``."""
    return {f"{name}/{key}": value.detach().cpu().clone() for key, value in network.state_dict().items()}


def restored(state: State, name: str, context: DefenseContext, *, arch: str | None = None) -> nn.Module:
    """Return a network with the weights stored under ``name/``, frozen and in eval mode.

    It is a `network_like_victim`, or of the architecture ``arch``.
    """
    task, rng = context.victim.task, Generator()
    network = network_like_victim(context, rng=rng) if arch is None else build(arch, task, rng=rng).to(context.device)
    network.load_state_dict({
        key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")
    })  # fmt: skip
    return network.requires_grad_(False).eval()


def answered_by_restored(state: State, name: str, context: DefenseContext) -> Responder:
    """Return a responder that answers from the network stored under ``name/``, in place of the victim."""
    return answered_by(ReplacedVictim(module=restored(state, name, context), task=context.victim.task))


def surrogate_of(context: DefenseContext, defense: str) -> nn.Module:
    """Return the defender's surrogate (its substitute for the unknown clone) in eval mode.

    Raises `NeedUnmet` if there is none, and `BadParameter` if it does not return logits (N, K) for the task's inputs.
    """
    surrogate, task = context.surrogate, context.victim.task
    if surrogate is None:
        message = f"{defense} needs a surrogate: set surrogate = random, same-architecture, ..."
        raise NeedUnmet(message)
    surrogate.eval()
    try:
        logits = padded_forward(surrogate, torch.zeros(1, *task.shape))
    except RuntimeError as error:
        message = f"{defense}: the surrogate does not accept inputs of shape {task.shape}: {error}"
        raise BadParameter(message) from error
    if logits.shape != (1, task.classes):
        message = f"{defense}: the surrogate returns {logits[0].numel()} numbers per row, not {task.classes} logits"
        raise BadParameter(message)
    return surrogate
