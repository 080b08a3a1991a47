"""One training loop for victims, surrogates and clones, and forwards padded to fixed batch sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

PADDED_SIZES = (8, 64, 256)
"""Every forward has one of these batch sizes: the last bits of a row depend on the size, so sizes must not vary."""

BATCH = 64
"""Rows of a training step, everywhere."""

_CLOCK_EVERY = 32  # steps between two looks at the clock
_ITERATIONS_A_LOOK = 20  # of L-BFGS, likewise


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread, as actors do: results then agree to the bit, and small networks are faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    """Train in place by soft cross entropy with Adam, cosine to 0; leaves the network in eval mode.

    ``inputs`` (N, *shape), ``targets`` (N, K) rows that need not sum to 1 (a refused row is all zeros and so drops
    out). Batches of min(batch, N), reshuffled each pass, the last partial one dropped. Stops at the last step, or
    when ``time_left`` says that less than nothing is left. N = 0 trains nothing. ``penalty`` is added to the loss, given
    the step and the indices (batch,) of its rows.
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
    """Train in place by any gradient, as `fit` does by its own; yield how many steps are done after each.

    ``backward`` fills the gradients for a batch, indices of rows. The network is in training mode at each step, and in
    eval mode once all are done.
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
        yield step + 1
    network.eval()


def minimise(
    loss: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    *,
    iterations: int,
    time_left: Callable[[], float] | None = None,
) -> float:
    """Minimise a loss of ``parameters`` in place by L-BFGS with a strong Wolfe search, and return what it came to.

    For small problems whose whole data fit one batch. Stops where steps or gradients vanish, after ``iterations``, or
    when ``time_left`` says that nothing is left.
    """
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=_ITERATIONS_A_LOOK,
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

    for _ in range(0, iterations, _ITERATIONS_A_LOOK):
        if time_left is not None and time_left() <= 0:
            break
        optimiser.step(closure)
    return float(loss().detach())


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of -sum_k y_k log softmax(z)_k; one-hot rows give the ordinary cross entropy."""
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return (N, K) float32 rows for labels (N,) int64."""
    return nn.functional.one_hot(labels, classes).float()


def hardened(rows: Tensor) -> Tensor:
    """Return the one-hot rows (N, K) of the argmax, ties to the lowest index; a refused row of zeros stays one."""
    return one_hot(rows.argmax(dim=1), rows.shape[1]) * (rows.sum(dim=1, keepdim=True) > 0)


@torch.inference_mode()
def padded_forward(network: nn.Module, inputs: Tensor, *, size: int | None = None) -> Tensor:
    """Return logits (N, K) on the CPU, each forward padded with zero rows to one of `PADDED_SIZES`.

    ``network`` must be in eval mode. A row's bits then depend on the size of its own call alone; ``size``, one of
    `PADDED_SIZES`, is for rows that are only a part of a call.
    """
    device = next(network.parameters()).device
    chunks = inputs.split(size or PADDED_SIZES[-1])
    parts = [network(padded(chunk, size=size).to(device))[: len(chunk)] for chunk in chunks]
    logits = torch.cat(parts) if len(parts) > 1 else parts[0]
    return logits.float().cpu()


def padded(rows: Tensor, *, size: int | None = None) -> Tensor:
    """Return up to 256 rows (N, ...) with zero rows after them: ``size`` in all, else the next of `PADDED_SIZES`."""
    size = size or padded_size(len(rows))
    return torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])]) if size > len(rows) else rows


def padded_size(rows: int) -> int:
    """Return the smallest of `PADDED_SIZES` that holds so many rows."""
    return next(size for size in PADDED_SIZES if size >= rows)


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return posteriors (N, K) float32 on the CPU, rows padded as in `padded_forward`."""
    return padded_forward(network, inputs).softmax(dim=1)


def batches(rows: int, *, batch: int, steps: int, rng: Generator) -> Iterator[Tensor]:
    """Yield ``steps`` index tensors of min(batch, rows); each pass over the rows is a fresh permutation of ``rng``."""
    if rows == 0:
        return
    size = min(batch, rows)
    done = 0
    while done < steps:
        order = torch.randperm(rows, generator=rng)
        for chosen in order[: rows - rows % size].split(size):
            if done == steps:
                return
            yield chosen
            done += 1
