"""How exactly networks of one hidden layer are copied: ``python benchmarks/equivalence.py`` prints Markdown tables.

Random networks all of whose units switch in the box, networks trained on digits, and answers that are rounded, noisy or
labels. An error is the largest over the classes of a centred logit. One thread.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from arena.attacks.functional_equivalence import FunctionalEquivalence
from arena.contracts import Answer, AttackContext, BudgetExhausted, Spec, Task
from arena.learning.architectures import build
from arena.learning.release import released
from arena.learning.training import fit, hardened, one_hot, one_thread
from arena.match.victims import load_splits

NETWORKS = 5  # of each size
SIZES = {(8, 4, 3): 3_000, (16, 8, 3): 6_000, (32, 16, 5): 12_000, (64, 32, 10): 20_000}
TRAINED = {16: 8_000, 32: 20_000}
TRAINING_STEPS = 2_000
ROWS = 5_000
NO_TIME_LIMIT = math.inf


@dataclass(kw_only=True)
class FreeOracle:
    """Answers with what ``answers`` makes of a network's posteriors, up to a budget."""

    accounts: ClassVar[int] = 1
    explanation: ClassVar[str | None] = None
    explanation_price: ClassVar[int] = 1

    logits: Callable[[Tensor], Tensor]
    task: Task
    budget: int
    answers: Callable[[Tensor], Tensor] = field(default=lambda rows: rows)
    remaining: int = 0

    def __post_init__(self) -> None:
        self.remaining = self.budget

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        if len(inputs) > self.remaining:
            raise BudgetExhausted("too many rows", remaining=self.remaining)
        self.remaining -= len(inputs)
        with torch.no_grad():
            return released(self.answers(self.logits(inputs).softmax(dim=1)))


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What one extraction cost and came to."""

    rows: int
    seconds: float
    facts: Mapping[str, float]
    clone: nn.Module


def copied(oracle: FreeOracle, pool: Tensor, *, seed: int) -> Copied:
    facts: dict[str, float] = {}
    context = AttackContext(
        pool=pool, device=torch.device("cpu"), time_left=lambda: NO_TIME_LIMIT, note=facts.__setitem__
    )
    started = time.process_time()
    with one_thread():
        clone = FunctionalEquivalence().extract(oracle, context, rng=torch.Generator().manual_seed(seed))
    seconds = time.process_time() - started
    return Copied(rows=oracle.budget - oracle.remaining, seconds=seconds, facts=facts, clone=clone)


def random_network(columns: int, hidden: int, classes: int, *, seed: int) -> Callable[[Tensor], Tensor]:
    """Return logits of a network whose units all switch in the box; they are of about 3 to 5."""
    rng = torch.Generator().manual_seed(seed)
    first = 2 * torch.randn(hidden, columns, generator=rng) / columns**0.5
    bias = -(first * torch.rand(hidden, columns, generator=rng)).sum(dim=1)
    last = 2 * torch.randn(classes, hidden, generator=rng) / hidden**0.5

    def logits(inputs: Tensor) -> Tensor:
        values: Tensor = torch.relu(inputs.flatten(1) @ first.T + bias) @ last.T
        return values

    return logits


def errors(clone: nn.Module, logits: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with torch.no_grad():
        difference = clone(inputs).double() - logits(inputs).double()
    largest: Tensor = (difference - difference.mean(dim=1, keepdim=True)).abs().amax(dim=1)
    return largest


def uniform(columns: int, *, seed: int) -> Tensor:
    return torch.rand(ROWS, columns, generator=torch.Generator().manual_seed(seed))


def print_sizes() -> None:
    print(f"\n### Random networks, {NETWORKS} of each size\n")
    print("| inputs-hidden-classes | budget | rows | units found | largest error, by network | median error | CPU s |")
    print("|---|--:|--:|--:|---|--:|--:|")
    for (columns, hidden, classes), budget in SIZES.items():
        runs, worst, medians = [], [], []
        for seed in range(NETWORKS):
            logits = random_network(columns, hidden, classes, seed=seed)
            oracle = FreeOracle(logits=logits, task=Task(shape=(columns,), classes=classes), budget=budget)
            runs.append(copied(oracle, torch.empty(0, columns), seed=seed))
            found = errors(runs[-1].clone, logits, uniform(columns, seed=99))
            worst.append(float(found.max()))
            medians.append(float(found.median()))
        rows = f"{min(run.rows for run in runs):,} to {max(run.rows for run in runs):,}"
        units = ", ".join(str(run.facts["units"]) for run in runs)
        each = ", ".join(f"{value:.0e}" for value in sorted(worst))
        seconds = statistics.mean(run.seconds for run in runs)
        median = statistics.median(medians)
        print(
            f"| {columns}-{hidden}-{classes} | {budget:,} | {rows} | {units} | {each} | {median:.0e} | {seconds:.1f} |"
        )


def print_trained() -> None:
    print("\n### Networks trained on digits, with a pool of the same distribution\n")
    print(
        "| victim | rows | units found | uniform rows: largest, median | test rows: largest, median | R_test | CPU s |"
    )
    print("|---|--:|--:|---|---|--:|--:|")
    splits = load_splits(Spec(name="digits"), None)
    for hidden, budget in TRAINED.items():
        for seed in range(3):
            victim = build(f"mlp-{hidden}", splits.task, rng=torch.Generator().manual_seed(seed))
            inputs, labels = splits.training
            rng = torch.Generator().manual_seed(seed)
            fit(victim, inputs, one_hot(labels, splits.task.classes), steps=TRAINING_STEPS, rng=rng)
            oracle = FreeOracle(logits=victim, task=splits.task, budget=budget)
            run = copied(oracle, splits.pool, seed=seed)
            random = uniform(math.prod(splits.task.shape), seed=99).reshape(-1, *splits.task.shape)
            found = [errors(run.clone, victim, rows) for rows in (random, splits.test[0])]
            far = [f"{float(one.max()):.0e}, {float(one.median()):.0e}" for one in found]
            with torch.no_grad():
                differ = run.clone(splits.test[0]).argmax(dim=1) != victim(splits.test[0]).argmax(dim=1)
            share = f"{100 * float(differ.float().mean()):.1f} %"
            units = run.facts["units"]
            print(
                f"| mlp-{hidden}, {seed} | {run.rows:,} | {units} | {' | '.join(far)} | {share} | {run.seconds:.0f} |"
            )


def noisy(size: float) -> Callable[[Tensor], Tensor]:
    rng = torch.Generator().manual_seed(0)

    def add(rows: Tensor) -> Tensor:
        moved = (rows + size * torch.randn(rows.shape, generator=rng)).clamp(min=1e-12)
        return moved / moved.sum(dim=1, keepdim=True)

    return add


def print_answers() -> None:
    columns, hidden, classes = 16, 8, 3
    print(
        f"\n### What answers must be like, {columns}-{hidden}-{classes}, {SIZES[columns, hidden, classes]:,} rows at most\n"
    )
    print("| answers | units found | rows | largest error | decisions that differ |")
    print("|---|--:|--:|--:|--:|")
    logits = random_network(columns, hidden, classes, seed=0)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "as they are": lambda rows: rows,
        **{f"{places} decimals": partial(torch.round, decimals=places) for places in (6, 5, 4, 2)},
        **{f"noise of {size:.0e}": noisy(size) for size in (1e-6, 1e-5)},
        "labels": hardened,
    }
    for name, answers in kinds.items():
        task = Task(shape=(columns,), classes=classes)
        oracle = FreeOracle(logits=logits, task=task, budget=SIZES[columns, hidden, classes], answers=answers)
        run = copied(oracle, torch.empty(0, columns), seed=0)
        inputs = uniform(columns, seed=99)
        with torch.no_grad():
            differ = run.clone(inputs).argmax(dim=1) != logits(inputs).argmax(dim=1)
        worst, share = float(errors(run.clone, logits, inputs).max()), 100 * float(differ.float().mean())
        print(f"| {name} | {run.facts['units']} | {run.rows:,} | {worst:.0e} | {share:.1f} % |")


if __name__ == "__main__":
    print_sizes()
    print_trained()
    print_answers()
