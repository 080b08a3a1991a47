"""PRADA on natural images, in batches against one distance at a time, in one run: ``python benchmarks/prada.py``.

Fashion-MNIST in the folder that ``ARENA_DATA`` names, classes by the nearest class mean, one thread, calls of 200
rows; prints a Markdown table.
"""

import time

import torch

from arena.contracts import Spec
from arena.defenses.prada import Distances
from arena.learning.training import one_hot, one_thread
from arena.match.site import default_data
from arena.match.victims import load_splits

CALL = 200
QUERIES = 20_000
SPANS = ((0, 2_000), (2_000, 4_000), (18_000, 20_000))
CLASSES = 10


def watch(cap: int | None) -> Distances:
    return Distances(delta=0.9, least=100, every=10, window=5_000, cap=cap, rng=torch.Generator().manual_seed(0))


def one_at_a_time(rows: torch.Tensor, labels: list[int]) -> None:
    """The authors' growing sets: every new row against every row that is there."""
    sets: dict[int, list[torch.Tensor]] = {}
    for row, label in zip(rows, labels, strict=True):
        known = sets.setdefault(label, [])
        if known:
            min(float((row - other).norm()) for other in known)
        known.append(row)


def main() -> None:
    if default_data() is None:
        print("needs Fashion-MNIST: name its folder with ARENA_DATA")
        return
    splits = load_splits(Spec(name="fashion-mnist"), default_data())
    inputs, labels = splits.training
    means = torch.stack([inputs[labels == label].mean(dim=0) for label in range(CLASSES)]).flatten(1)
    rows = torch.cat([splits.pool, inputs])[:QUERIES]
    classes = torch.cdist(rows.flatten(1), means).argmin(dim=1)
    print("| growing sets | " + " | ".join(f"queries {a:,} to {b:,}" for a, b in SPANS) + " | alarms | W |")
    print("|---|" + "---|" * (len(SPANS) + 2))
    with one_thread():
        for name, cap in (("exact", None), ("growing_cap = 2,000", 2_000 // CLASSES)):
            seen, took, alarms = watch(cap), [], 0
            for start in range(0, QUERIES, CALL):
                part = slice(start, start + CALL)
                begun = time.perf_counter()
                alarms += int(seen(rows[part], one_hot(classes[part], CLASSES)).sum())
                took.append(time.perf_counter() - begun)
            spans = [sum(took[a // CALL : b // CALL]) / (b - a) * 1e3 for a, b in SPANS]
            print(f"| {name} | " + " | ".join(f"{ms:.3f} ms" for ms in spans) + f" | {alarms} | {seen.normality:.3f} |")
        begun = time.perf_counter()
        one_at_a_time(rows[: SPANS[0][1]].flatten(1), classes[: SPANS[0][1]].tolist())
        slow = (time.perf_counter() - begun) / SPANS[0][1] * 1e3
        print(f"| one distance at a time, without the test | {slow:.3f} ms |" + " |" * (len(SPANS) + 1))


if __name__ == "__main__":
    main()
