"""Release posteriors multiplied by a fixed noise matrix, which moves the same share of every class elsewhere.

Source: Wu, Fu, Wu, Xia, Zhang et al., "Defense against Model Extraction Attacks by Noise Transition Matrix", CVPR 2024,
doi 10.1109/CVPR52733.2024.02294: y T in place of y, where T is trained to harm a surrogate of the clone.
Departures: The paper's code is not public. Its matrix is free, and ours moves exactly ``share`` of each class: with a
penalty on infidelity in its place, the matrix became the identity. What ``learned`` chooses is where the share goes;
``pair`` gives it to the next class, and ``symmetric`` to all others alike, which smooths labels and helps the attacker. If
``keep`` is set, rows whose argmax the matrix moves are mixed with their label until it is back.
``noise-inversion`` is the attack that undoes the matrix.
Published number: none on equal terms. Reproduced: formula, and the direction of ``pair``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, DefenseContext, Promise, Responder, State
from arena.defenses.parts.defender_networks import network_like_victim
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.randomness import child
from arena.learning.release import keep_argmax
from arena.learning.training import BATCH, batches

Kind = Literal["symmetric", "pair", "learned"]
MATRIX = "matrix"


@dataclass(frozen=True, kw_only=True)
class NoiseMatrix(ComposableDefense):
    """``kind`` decides where the ``share`` of each class goes; it is in [0, 1), and 0 changes nothing.

    ``learned`` is trained for ``steps``: a surrogate takes a step on noisy answers with ``surrogate_rate``, and the
    matrix, by Adam with ``rate``, the step after which a further step of the surrogate would do the most harm.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({"kind", "share", "steps", "rate", "surrogate_rate"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("share", (0.0, 0.1, 0.2, 0.3, 0.4, 0.45))

    kind: Kind = "pair"
    share: float = 0.45
    keep: bool = True
    steps: int = 300
    rate: float = 0.1
    surrogate_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 1:
            message = f"share = {self.share} must lie in [0, 1)"
            raise BadParameter(message)
        if self.steps < 1 or min(self.rate, self.surrogate_rate) <= 0:
            message = f"steps = {self.steps} must be at least 1, and both rates more than 0"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        """A row moves by share * |y Q - y|, at most twice the share in L1; to keep an argmax may take more."""
        return Promise(argmax=True) if self.keep else Promise(l1=2 * self.share)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        below = super().train(context, rng=rng)
        classes = context.victim.task.classes
        moved = self._learned(context, rng=rng) if self.kind == "learned" else targets(self.kind, classes)
        return {**below, MATRIX: (1 - self.share) * torch.eye(classes) + self.share * moved}

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        matrix = state[MATRIX].double()

        def noisy(rows: Tensor) -> Tensor:
            # one by one, because the rounding of a matrix product would depend on the other rows
            changed = (rows.double().unsqueeze(2) * matrix).sum(dim=1)
            return keep_argmax(changed, rows) if self.keep else changed

        return transformed(self.below(context, state, rng=rng), lambda rows, _: noisy(rows))

    def _learned(self, context: DefenseContext, *, rng: Generator) -> Tensor:
        """Return the rows (K, K), zero on the diagonal, to which the surrogate's harm has led."""
        inputs = context.training[0].to(context.device)
        clean = context.victim(context.training[0]).to(context.device)
        surrogate = network_like_victim(context, rng=rng)
        scores = torch.zeros(clean.shape[1], clean.shape[1], device=context.device, requires_grad=True)
        of_matrix = torch.optim.Adam([scores], lr=self.rate)
        of_surrogate = torch.optim.SGD(surrogate.parameters(), lr=self.surrogate_rate)
        first, second = (batches(len(inputs), batch=BATCH, steps=self.steps, rng=child(rng)) for _ in range(2))
        for taught, judged in zip(first, second, strict=True):
            moved = without_diagonal(scores)
            noisy = (1 - self.share) * clean[taught] + self.share * clean[taught] @ moved
            of_surrogate.zero_grad()
            cross_entropy(surrogate(inputs[taught]), noisy.detach()).backward()
            of_surrogate.step()
            harmed = after_a_step(surrogate, inputs[taught], noisy, inputs[judged], rate=self.surrogate_rate)
            of_matrix.zero_grad()
            (-label_margin(harmed, clean[judged].argmax(dim=1)).mean()).backward()
            of_matrix.step()
        return without_diagonal(scores).detach().cpu()


def targets(kind: Literal["symmetric", "pair"], classes: int) -> Tensor:
    """Return where the share of each class goes, as the rows of (K, K): to all other classes alike, or to the next."""
    if kind == "pair":
        return torch.eye(classes).roll(1, dims=1)
    return (1 - torch.eye(classes)) / (classes - 1)


def without_diagonal(scores: Tensor) -> Tensor:
    """Return softmax rows of scores (K, K) with zeros on the diagonal."""
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool, device=scores.device), -torch.inf).softmax(dim=1)


def label_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return logsumexp of the other logits minus that of the label, for logits (N, K), as (N,): the harm done."""
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf).logsumexp(dim=1)
    return others - logits.gather(1, labels.unsqueeze(1)).squeeze(1)


def after_a_step(network: nn.Module, inputs: Tensor, targets: Tensor, asked: Tensor, *, rate: float) -> Tensor:
    """Return the logits of ``asked`` after one step of gradient descent on (inputs, targets).

    They are differentiable in the targets (N, K), which the step would have been taken on.
    """
    weights = dict(network.named_parameters())
    loss = cross_entropy(network(inputs), targets)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    stepped = {name: weight - rate * slope for (name, weight), slope in zip(weights.items(), gradients, strict=True)}
    logits: Tensor = functional_call(network, stepped, (asked,))
    return logits
