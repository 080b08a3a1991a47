"""MAD-argmax in batches against the same search one vertex at a time, in one run: ``python benchmarks/mad.py``.

Both score all 2^(K - 1) vertices after scaling, K = 10, on one thread; prints a Markdown table. CPU times.
"""

import itertools
import time

import torch

from arena.defenses.prediction_poisoning import LEAD, poisoned
from arena.learning.training import one_thread

CLASSES, EPSILON = 10, 0.5
ROWS, REFERENCE_ROWS = 2_048, 8


def one_by_one(y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    predicted, u = int(y.argmax()), y - p
    best, found = torch.inf, y
    for members in itertools.product((0.0, 1.0), repeat=CLASSES):
        if not members[predicted]:
            continue
        vertex = torch.tensor(members, dtype=torch.float64)
        vertex[predicted] += LEAD
        vertex /= vertex.sum()
        weight = min(1.0, EPSILON / float((vertex - y).abs().sum()))
        row = (1 - weight) * y + weight * vertex
        score = float(u @ (row - p) / (row - p).norm())
        if score < best:
            best, found = score, row
    return found


def main() -> None:
    random = torch.Generator().manual_seed(0)
    y, p = (torch.randn(ROWS, CLASSES, generator=random).mul(scale).softmax(dim=1).double() for scale in (3.0, 2.0))
    with one_thread():
        poisoned(y[:128], p[:128], epsilon=EPSILON, argmax=True)  # builds the vertices
        start = time.process_time()
        batched = torch.cat([
            poisoned(*part, epsilon=EPSILON, argmax=True) for part in zip(y.split(128), p.split(128), strict=True)
        ])  # fmt: skip
        batched_ms = (time.process_time() - start) / ROWS * 1e3
        start = time.process_time()
        single = torch.stack([one_by_one(y[row], p[row]) for row in range(REFERENCE_ROWS)])
        single_ms = (time.process_time() - start) / REFERENCE_ROWS * 1e3
    difference = float((batched[:REFERENCE_ROWS] - single).abs().max())
    print("| search, K = 10, epsilon = 0.5 | CPU ms a query | ratio | largest difference |")
    print("|---|---|---|---|")
    print(f"| one vertex at a time | {single_ms:.3f} | 1 | |")
    print(f"| batches of 128 | {batched_ms:.4f} | {single_ms / batched_ms:.0f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
