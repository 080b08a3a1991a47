"""One training loop for victims, surrogates and clones, and forward passes padded to fixed batch sizes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.learning.compact import plain

PADDED_SIZES = (8, 64, 256)
"""Every forward pass has one of these batch sizes, because the last bits of a row depend on the batch size."""

BATCH = 64
"""The number of rows in a training step, everywhere."""

_CLOCK_EVERY = 32  # steps between two checks of the clock
_ITERATIONS_PER_CLOCK_CHECK = 20  # of L-BFGS


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread, as actors do: results agree to the bit, and small networks are faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(kw_only=True)
class Steps:
    """A number of optimiser steps."""

    taken: int = 0


@contextmanager
def counted_steps() -> Iterator[Steps]:
    """Count the optimiser steps that `fit` and `descent` take in this context, for all networks together."""
    steps = Steps()
    before = _counted.set((*_counted.get(), steps))
    try:
        yield steps
    finally:
        _counted.reset(before)


def count_steps(taken: int) -> None:
    """Count optimiser steps that were taken in another process."""
    for steps in _counted.get():
        steps.taken += taken


_counted: ContextVar[tuple[Steps, ...]] = ContextVar("counted", default=())


class CutShort:
    """What was left out of trainings that were cut short: steps, and the CPU seconds that they would have taken."""

    warm_up = 3  # the first steps of a training compile kernels and are not timed

    def __init__(self, timed: int) -> None:
        self._timed = timed
        self.steps, self.seconds = 0, 0.0

    def cutter(self, steps: int) -> Callable[[int], bool]:
        """Return a function that is asked before each step, with the number of steps done, whether to end there."""
        started = 0.0

        def ends(done: int) -> bool:
            nonlocal started
            if done == self.warm_up:
                started = time.process_time()
            if done < self.warm_up + self._timed or done >= steps:
                return False
            self.steps += steps - done
            self.seconds += (time.process_time() - started) / self._timed * (steps - done)
            return True

        return ends


@contextmanager
def cut_short(*, timed: int) -> Iterator[CutShort]:
    """End every training in this context after a few steps, of which ``timed`` are timed, to estimate what it takes.

    What is trained is of no use. Loops that do not draw their rows by `batches` run to their end.
    """
    short = CutShort(timed)
    before = _short.set(short)
    try:
        yield short
    finally:
        _short.reset(before)


_short: ContextVar[CutShort | None] = ContextVar("short", default=None)


def fit(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int,
    rng: Generator,
    lr: float = 3e-3,
    batch: int = BATCH,
    time_left: Callable[[], float] | None = None,
    penalty: Callable[[int, Tensor], Tensor] | None = None,
) -> None:
    """Train a network in place by soft cross entropy, with Adam and cosine decay to 0; leave it in eval mode.

    ``inputs`` are (N, *shape); compact ones are converted batch by batch. ``targets`` (N, K) need not sum to 1: a
    refused row is all zeros and so drops out. Batches have min(batch, N) rows, are reshuffled in each pass, and the
    last partial one is dropped. Training stops after ``steps``, or when ``time_left`` returns 0 or less; with N = 0 it
    does nothing. ``penalty`` is added to the loss; it is called with the number of steps done and the indices (batch,)
    of the rows.
    """
    device = next(network.parameters()).device
    inputs, targets = inputs.to(device), targets.to(device)

    done = 0

    def backward(chosen: Tensor) -> None:
        loss = soft_cross_entropy(network(inputs[chosen]), targets[chosen])
        if penalty is not None:
            loss = loss + penalty(done, chosen)
        loss.backward()

    for done in descent(  # noqa: B007  # read by the penalty
        network, backward, rows=len(inputs), steps=steps, rng=rng, lr=lr, batch=batch, time_left=time_left
    ):
        pass


def descent(
    network: nn.Module,
    backward: Callable[[Tensor], None],
    *,
    rows: int,
    steps: int,
    rng: Generator,
    lr: float = 3e-3,
    batch: int = BATCH,
    time_left: Callable[[], float] | None = None,
) -> Iterator[int]:
    """Train in place as `fit` does, but by any gradient; yield the number of steps done after each step.

    ``backward`` fills in the gradients for a batch, given the indices of its rows. The network is in training mode
    during each step, and in eval mode at the end.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    network.train()
    for step, chosen in enumerate(batches(rows, batch=batch, steps=steps, rng=rng)):
        if time_left is not None and step % _CLOCK_EVERY == 0 and time_left() <= 0:
            break
        optimiser.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        backward(chosen)
        optimiser.step()
        count_steps(1)
        yield step + 1
    network.eval()


def minimise(
    loss: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    *,
    iterations: int,
    time_left: Callable[[], float] | None = None,
) -> float:
    """Minimise a loss of ``parameters`` in place by L-BFGS with a strong Wolfe search, and return its final value.

    This is for small problems whose data fit into one batch. It stops when steps or gradients vanish, after
    ``iterations``, or when ``time_left`` returns 0 or less.
    """
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=_ITERATIONS_PER_CLOCK_CHECK,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
    )

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    for _ in range(0, iterations, _ITERATIONS_PER_CLOCK_CHECK):
        if time_left is not None and time_left() <= 0:
            break
        optimiser.step(closure)
    return float(loss().detach())


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of -sum_k y_k log softmax(z)_k, which is the usual cross entropy for one-hot rows."""
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return one-hot rows (N, K) float32 for labels (N,) int64."""
    return nn.functional.one_hot(labels, classes).float()


def hardened(rows: Tensor) -> Tensor:
    """Return the hard labels of rows as one-hot rows (N, K), ties going to the lowest index; zeros stay zeros."""
    return one_hot(rows.argmax(dim=1), rows.shape[1]) * (rows.sum(dim=1, keepdim=True) > 0)


@torch.inference_mode()
def padded_forward(network: nn.Module, inputs: Tensor, *, size: int | None = None) -> Tensor:
    """Return logits (N, K) on the CPU, from forward passes padded with zero rows to one of `PADDED_SIZES`.

    ``network`` must be in eval mode; a row's bits then depend only on the size of its own call. If the rows are only a
    part of a call, ``size`` is the padded size of the call.
    """
    device = next(network.parameters()).device

    def answered(chunk: Tensor) -> Tensor:
        return network(padded(chunk, size=size).to(device))[: len(chunk)]  # type: ignore[no-any-return]  # of a module

    chunks = inputs.split(size or PADDED_SIZES[-1])
    first = answered(chunks[0])
    if len(chunks) == 1:
        return first.float().cpu()
    logits = first.new_empty(len(inputs), *first.shape[1:])  # small tensors kept between large ones fragment memory
    logits[: len(first)] = first
    for chunk, part in zip(chunks[1:], logits[len(first) :].split(len(first)), strict=True):
        part.copy_(answered(chunk))
    return logits.float().cpu()


def padded(rows: Tensor, *, size: int | None = None) -> Tensor:
    """Append zero rows to up to 256 rows (N, ...), to make ``size`` in total or else the next of `PADDED_SIZES`."""
    rows, size = plain(rows), size or padded_size(len(rows))
    return torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])]) if size > len(rows) else rows


def padded_size(rows: int) -> int:
    """Return the smallest of `PADDED_SIZES` that is at least ``rows``."""
    return next(size for size in PADDED_SIZES if size >= rows)


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return posteriors (N, K) float32 on the CPU, padded as in `padded_forward`."""
    return padded_forward(network, inputs).softmax(dim=1)


def batches(rows: int, *, batch: int, steps: int, rng: Generator) -> Iterator[Tensor]:
    """Yield ``steps`` index tensors of min(batch, rows); each pass over the rows is a new permutation from ``rng``."""
    if rows == 0:
        return
    size = min(batch, rows)
    done = 0
    short = _short.get()
    ends = short.cutter(steps) if short is not None else None
    while done < steps:
        order = torch.randperm(rows, generator=rng)
        for chosen in order[: rows - rows % size].split(size):
            if done == steps or (ends is not None and ends(done)):
                return
            yield chosen
            done += 1
