"""Answer each query from one of several models that agree on the defender's data and disagree on outliers (EDM).

Source: Kariyappa, Prakash, Qureshi, "Protecting DNNs from Theft using an Ensemble of Diverse Models", ICLR 2021
(OpenReview LucJxySuJcE). A secret function of the input chooses the member that answers, so that the oracle is
discontinuous wherever the members disagree.
Departures: Neither the paper's code nor its hash is public. ``selection = "coarse"`` is our own. Its code for an image
is the signs, about their medians on the defender's data, of secret projections of the 7x7 mean-pooled image. Codes are
assigned to members so that each gets an equal part of that data, and new codes by a secret key; small changes to an
image therefore mostly reach the same member. ``"bytes"`` hashes the image rounded to 8 bits, so that any changed level
may reach another member. The defaults of ``members``, ``diversity`` and ``steps`` are ours too. Without outliers the
members are ordinary models that differ in their initialisation.
Published number: none on equal terms. Reproduced: formula (the loss); direction (the members agree on benign rows as
much as ordinary models do, but not at all on outliers and rows that resemble them).
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, cross_entropy

from arena.contracts import Answer, BadParameter, Defense, DefenseContext, Need, Promise, QueryBatch, Responder, State
from arena.defenses.parts.defender_networks import network_like_victim, restored, stored
from arena.learning.randomness import child
from arena.learning.release import released
from arena.learning.tensors import canonical
from arena.learning.training import BATCH, PADDED_SIZES, batches, descent, padded_forward, padded_size

Selection = Literal["coarse", "bytes"]

POOLED_SIDE = 7  # an image is reduced to this many means per side before it is hashed
BITS = 16  # of a coarse hash
LEVELS = 255
_KEY_BYTES = 16
_KNOWN_ROWS = 10_000  # of the defender's data, whose coarse hashes are divided evenly among the members


@dataclass(frozen=True, kw_only=True)
class DiverseEnsemble(Defense):
    """``diversity`` is the weight of the members' disagreement on outliers; ``steps`` train all of them jointly."""

    optional_needs: ClassVar[frozenset[Need]] = frozenset({"outliers"})
    trained_by: ClassVar[frozenset[str]] = frozenset({"members", "diversity", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("diversity", (0.0, 0.1, 0.3, 1.0, 3.0))
    replaces_victim: ClassVar[bool] = True

    members: int = 5
    diversity: float = 1.0
    selection: Selection = "coarse"
    steps: int = 2_000

    def __post_init__(self) -> None:
        if self.members < 1 or self.diversity < 0 or self.steps < 1:
            message = (
                f"members = {self.members} and steps = {self.steps} must be at least 1, and "
                f"diversity = {self.diversity} at least 0"
            )
            raise BadParameter(message)

    @property
    def promise(self) -> Promise:
        return Promise(noise="keyed")

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Train all members jointly, with one loss and one optimiser."""
        members = nn.ModuleList(network_like_victim(context, rng=rng) for _ in range(self.members))
        inputs, labels = (part.to(context.device) for part in context.training)
        outliers = context.outliers
        diverse = self.members > 1 and self.diversity > 0 and outliers is not None and len(outliers) > 0
        outlying = outliers.to(context.device) if outliers is not None else inputs[:0]
        outlier_batches = batches(len(outlying), batch=BATCH, steps=self.steps, rng=child(rng))

        def backward(chosen: Tensor) -> None:
            x, y = inputs[chosen], labels[chosen]
            loss = torch.stack([cross_entropy(member(x), y) for member in members]).mean()
            if diverse:
                x_out = outlying[next(outlier_batches)]
                loss = loss + self.diversity * agreement_loss(torch.stack([m(x_out).softmax(dim=1) for m in members]))
            loss.backward()

        for _ in descent(members, backward, rows=len(inputs), steps=self.steps, rng=child(rng)):
            pass
        return {
            name: value
            for number, member in enumerate(members)
            for name, value in stored(member, _name(number)).items()
        }

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        members = [restored(state, _name(number), context) for number in range(self.members)]
        choose = selector(self.selection, self.members, context.training[0], rng=rng)

        def respond(queries: QueryBatch) -> Answer:
            return released(answers(members, queries.inputs, choose(queries.inputs)))

        return respond


def agreement_loss(posteriors: Tensor) -> Tensor:
    """Return the mean over rows of log sum_{a < b} exp cos(y_a, y_b), for the posteriors (M, N, K) of M > 1 members."""
    return similarities(posteriors).logsumexp(dim=0).mean()


def coherence(posteriors: Tensor) -> Tensor:
    """Return the largest cosine between the posteriors (M, N, K) of any two of M members, as (N,)."""
    return similarities(posteriors).amax(dim=0)


def similarities(posteriors: Tensor) -> Tensor:
    """Return the cosines between all pairs of members a < b, as (M (M - 1) / 2, N)."""
    pairs = itertools.combinations(posteriors, 2)
    return torch.stack([cosine_similarity(one, other, dim=1) for one, other in pairs])


def answers(members: list[nn.Module], inputs: Tensor, chosen: Tensor) -> Tensor:
    """Return posteriors (N, K), where each row comes from the member ``chosen`` (N,) for it.

    All forward passes of a call are padded to one size, so that a row's bits do not depend on the other rows' members.
    """
    size = min(padded_size(len(inputs)), PADDED_SIZES[1])
    rows = None
    for number, member in enumerate(members):
        of_member = (chosen == number).nonzero().squeeze(1)
        if len(of_member):
            answered = padded_forward(member, inputs[of_member], size=size).softmax(dim=1)
            rows = answered.new_empty(len(inputs), answered.shape[1]) if rows is None else rows
            rows[of_member] = answered
    assert rows is not None, "some member is chosen"
    return rows


def selector(selection: Selection, members: int, data: Tensor, *, rng: Generator) -> Callable[[Tensor], Tensor]:
    """Return a secret function from inputs (N, *shape) to members (N,); equal inputs have the same member."""
    key = bytes(torch.randint(256, (_KEY_BYTES,), generator=rng).tolist())
    if selection == "bytes":
        return lambda inputs: _chosen((canonical(inputs) * LEVELS).round().to(torch.uint8), {}, members, key)
    known = _pooled(data[:_KNOWN_ROWS])
    projections = torch.randn(BITS, known.shape[1], generator=rng, dtype=torch.float64)
    borders = _projected(known, projections).median(dim=0).values if len(known) else torch.zeros(BITS)

    def signs(pooled: Tensor) -> Tensor:
        return (_projected(pooled, projections) > borders).to(torch.uint8)

    shares = balanced(signs(known), members)
    return lambda inputs: _chosen(signs(_pooled(inputs)), shares, members, key)


def balanced(codes: Tensor, members: int) -> dict[bytes, int]:
    """Assign each code in (N, bits) uint8 to a member, the most frequent first, always to the one with the fewest rows.

    The codes of natural images are far from equally frequent: by a hash alone, some members answer twice as many rows
    as others.
    """
    shares: dict[bytes, int] = {}
    rows = [0] * members
    for code, count in Counter(row.tobytes() for row in codes.numpy()).most_common():
        shares[code] = rows.index(min(rows))
        rows[shares[code]] += count
    return shares


def _chosen(codes: Tensor, shares: Mapping[bytes, int], members: int, key: bytes) -> Tensor:
    """Return the member (N,) of each code (N, ...) uint8: the assigned one, else keyed blake2b modulo ``members``."""
    names = [row.tobytes() for row in codes.flatten(1).numpy()]
    return torch.tensor([shares[name] if name in shares else _hashed(name, key) % members for name in names])


def _hashed(name: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, key=key, digest_size=8).digest(), "little")


def _pooled(inputs: Tensor) -> Tensor:
    """Return rows (N, d) float64: the means of an image over a 7x7 grid, or a table row as it is."""
    images = canonical(inputs)
    return (adaptive_avg_pool2d(images, POOLED_SIDE) if images.dim() == 4 else images).flatten(1).double()


def _projected(rows: Tensor, projections: Tensor) -> Tensor:
    """Return (N, bits), summed one by one: the rounding of a matrix product would depend on the other rows."""
    return torch.stack([(rows * projection).sum(dim=1) for projection in projections], dim=1)


def _name(number: int) -> str:
    return f"member-{number}"
