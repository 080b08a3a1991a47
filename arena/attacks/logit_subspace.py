"""Find the space in which the victim's logits lie, and move every answer into it: noise leaves it, and cut rows grow whole.

Logits are W f(x) + b with W (K, h). If there are more classes than features, centred logarithms of the answers lie in an
affine space of dimension h: that is the width of the last hidden layer, and its directions span the columns of W.
Source: Carlini, Paleka, Dvijotham et al., "Stealing Part of a Production Language Model", ICML 2024, arXiv 2403.06634.
Finlayson, Ren, Swayamdipta, "Logits of API-Protected LLMs Leak Proprietary Information", COLM 2024, arXiv 2403.09539,
for rows of which only the largest values are released.
Departures: It wraps any attack, which plays on the projected answers. Rows with values too small for float32 are left
out of the spectrum, and half of the rows that it is taken from have little contrast, so that fewer are. Where nothing
stands out in the spectrum (fewer classes than features, or rounded answers), the base plays unchanged.
Facts of the result: ``width``, 0 if none was found, and ``gap``, the ratio of the singular values on its two sides.
Published number: the width of the last layer, exactly. Reproduced: number, on networks with 12 to 100 classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Answer, AttackContext, BadParameter, Oracle
from arena.learning.oracle_view import OracleView
from arena.learning.randomness import child

SMALLEST = 1e-37  # a released value below it has lost its digits
LEAST_GAP = 5.0  # between the singular values on both sides of the width
READ_SHARE = 0.9  # of the spectrum: the last singular values of centred rows are nearly zero in any case
LEAST_CONTRAST = 0.2  # of pool rows in the probe
LEAST_ROWS = 8  # of a probe
_ROWS_AT_ONCE = 1024  # whose equations are held at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Subspace:
    """Centred log-posteriors ``mean`` (K,) + ``directions`` (K, h) a, in float64."""

    mean: Tensor
    directions: Tensor

    @property
    def width(self) -> int:
        return self.directions.shape[1]


@dataclass(frozen=True, kw_only=True)
class LogitSubspace(AttackWrapper):
    """Spends ``share`` of the budget on finding the space, then plays ``base`` on answers that are moved into it."""

    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            message = f"share = {self.share} must be above 0 and below 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Find the space, and play ``base``."""
        rows = int(self.share * oracle.remaining)
        space = None
        if rows >= LEAST_ROWS and oracle.remaining - rows >= self.base.min_budget(oracle.task):
            probe = TransferSet(oracle)
            probe.extend(probes(rows, context.pool, oracle.task.shape, rng=child(rng)))
            space, gap = spectrum(probe.answered().released)
            context.note("gap", min(gap, torch.finfo(torch.float32).max))
        context.note("width", space.width if space else 0)
        return self.base.extract(oracle if space is None else _Projecting(oracle=oracle, space=space), context, rng=rng)


@dataclass(kw_only=True, eq=False)
class _Projecting(OracleView):
    """Moves every answer into a space."""

    space: Subspace

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        return replace(answer, posteriors=projected(answer.posteriors, self.space))


def probes(rows: int, pool: Tensor, shape: tuple[int, ...], *, rng: Generator) -> Tensor:
    """Return rows (N, *shape): half of them pool rows with a random contrast about grey, the rest uniform noise."""
    chosen = pool[torch.randperm(len(pool), generator=rng)[: rows // 2]]
    contrast = LEAST_CONTRAST + (1 - LEAST_CONTRAST) * torch.rand(len(chosen), *[1] * len(shape), generator=rng)
    noise = torch.rand(rows - len(chosen), *shape, generator=rng)
    return torch.cat([(0.5 + contrast * (chosen - 0.5)).clamp(0, 1), noise])


def spectrum(released: Tensor) -> tuple[Subspace | None, float]:
    """Return the space in which the log-posteriors of rows (N, K) lie, or None, and the gap in their spectrum.

    The width is where the ratio of neighbouring singular values is largest, if it is at least `LEAST_GAP`.
    """
    ratios = log_ratios(released[(released >= SMALLEST).all(dim=1)])
    most = min(*ratios.shape) - 1
    if most < 2:
        return None, 1.0
    mean = ratios.mean(dim=0)
    _, values, directions = torch.linalg.svd(ratios - mean, full_matrices=False)
    read = max(1, math.floor(READ_SHARE * most))
    gaps = values[:read] / values[1 : read + 1].clamp(min=torch.finfo(values.dtype).tiny)
    width = int(gaps.argmax()) + 1
    gap = float(gaps.max())
    return (Subspace(mean=mean, directions=directions[:width].T) if gap >= LEAST_GAP else None), gap


def projected(released: Tensor, space: Subspace) -> Tensor:
    """Return rows (N, K) float32 whose log-posteriors lie in the space, as near as possible to the released ones.

    Only released values above 0 count, each alike. A row with fewer than h + 2 of them, such as a refused one, is
    returned as it is.
    """
    return torch.cat([_solved(rows, space) for rows in released.split(_ROWS_AT_ONCE)])


def _solved(released: Tensor, space: Subspace) -> Tensor:
    """Solve for the coordinates of each row in the space, and for the constant that a softmax does not show."""
    known = released >= SMALLEST
    wanted = (torch.where(known, released, 1).double().log() - space.mean) * known
    columns = torch.cat([space.directions, torch.ones_like(space.mean).unsqueeze(1)], dim=1) * known.unsqueeze(2)
    enough = known.sum(dim=1) > space.width + 1
    solved = torch.linalg.lstsq(columns[enough], wanted[enough].unsqueeze(2)).solution[:, :-1].squeeze(2)
    found = released.clone()
    found[enough] = (space.mean + solved @ space.directions.T).softmax(dim=1).to(released.dtype)
    return found


def log_ratios(released: Tensor) -> Tensor:
    """Return the logarithms of rows (N, K) less their mean over the classes, in float64."""
    logarithms = released.double().log()
    return logarithms - logarithms.mean(dim=1, keepdim=True)
