"""ModelGuard-W's linear programme in batches against HiGHS row by row, in one run: ``python benchmarks/cheapest_rows.py``.

epsilon = 1, the argmax kept by 1e-4, costs log(y + 1e-6), one thread; prints a Markdown table.
"""

import time

import numpy as np
import torch
from scipy.optimize import linprog

from arena.defenses.modelguard import FLOOR, least_likely
from arena.learning.training import one_thread

EPSILON, MARGIN = 1.0, 1e-4
ROWS = 256
REFERENCE_ROWS = {10: 128, 100: 32, 1_000: 8}


def by_highs(row: np.ndarray, constraints: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the least value: x >= 0 and u >= |x - y| are the variables."""
    classes, (left, right) = len(row), constraints
    best = int(row.argmax())
    leads = np.delete(np.hstack([np.eye(classes) - np.eye(classes)[best], np.zeros((classes, classes))]), best, axis=0)
    found = linprog(
        np.concatenate([np.log(row + FLOOR), np.zeros(classes)]),
        A_ub=np.vstack([left, leads]),
        b_ub=np.concatenate([row, -row, right, np.full(classes - 1, -MARGIN)]),
        A_eq=np.concatenate([np.ones(classes), np.zeros(classes)])[None],
        b_eq=[1],
        method="highs",
    )
    return float(found.fun)


def main() -> None:
    print("| K | HiGHS, ms a query | batches of 256, ms a query | ratio | largest difference of the values |")
    print("|---|---|---|---|---|")
    random = torch.Generator().manual_seed(0)
    for classes, reference in REFERENCE_ROWS.items():
        y = torch.randn(ROWS, classes, generator=random).double().mul(3).softmax(dim=1)
        with one_thread():
            least_likely(y, epsilon=EPSILON, margin=MARGIN)
            start = time.perf_counter()
            rows = least_likely(y, epsilon=EPSILON, margin=MARGIN)
            ours = (time.perf_counter() - start) / ROWS * 1e3
        values = ((y + FLOOR).log() * rows).sum(dim=1).tolist()
        one = np.eye(classes)
        left = np.vstack([np.hstack([one, -one]), np.hstack([-one, -one]), [[0] * classes + [1] * classes]])
        start = time.perf_counter()
        least = [by_highs(row, (left, np.array([EPSILON]))) for row in y[:reference].numpy()]
        theirs = (time.perf_counter() - start) / reference * 1e3
        difference = max(abs(one - other) for one, other in zip(values, least, strict=False))
        print(f"| {classes} | {theirs:.2f} | {ours:.4f} | {theirs / ours:.0f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
