"""The rows on which every clone of a victim is compared with it: test rows and uniform inputs, with its posteriors."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from arena.contracts import Spec
from arena.learning.randomness import generator
from arena.learning.row_log import RowLog
from arena.learning.tensors import pack
from arena.learning.training import one_thread
from arena.match.site import Site
from arena.match.victims import NetworkVictim, load_splits, load_victim

UNIFORM_ROWS = 10_000
_ROWS_AT_ONCE = 250  # that are drawn together; the numbers do not depend on it


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The rows and posteriors with which every clone of a victim is compared; made once per victim and process."""

    victim: NetworkVictim
    inputs: Tensor  # test rows
    labels: Tensor
    posteriors: Tensor  # the undefended victim's, on the test rows
    uniform: Tensor  # 10,000 rows of U[0, 1]^d, the same for all matches of a shape
    uniform_posteriors: Tensor


def uniform_rows(shape: tuple[int, ...], *, rng: Generator) -> Tensor:
    """Return 10,000 rows (N, *shape) of U[0, 1]^d, in a file if they are large."""
    log = RowLog()
    for start in range(0, UNIFORM_ROWS, _ROWS_AT_ONCE):
        log.append(pack(torch.rand(min(_ROWS_AT_ONCE, UNIFORM_ROWS - start), *shape, generator=rng)))
    return log.tensor()


@functools.lru_cache(maxsize=8)
def load_reference(victim: Spec, seed: int, site: Site) -> Reference:
    """Return the test rows and uniform inputs of a victim with its undefended posteriors on them."""
    network = load_victim(victim, seed, site)
    inputs, labels = load_splits(victim, site.data).test
    shape = network.task.shape
    uniform = uniform_rows(shape, rng=generator(0, "uniform", str(shape)))
    with one_thread():
        return Reference(
            victim=network,
            inputs=inputs,
            labels=labels,
            posteriors=network(inputs),
            uniform=uniform,
            uniform_posteriors=network(uniform),
        )
