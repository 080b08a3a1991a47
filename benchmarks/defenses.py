"""What every defense costs and keeps, and what is stolen past it.

``python benchmarks/defenses.py`` prints release times, MAD's angles and promises; ``python benchmarks/defenses.py
runs/defenses-*`` prints a table for each victim, pool and budget of run folders, which ``arena run
benchmarks/tournaments/defenses-digits.toml --out runs/defenses-digits`` and the like play.

``bench-cnn`` after a short training on Fashion-MNIST, in the folder that ``ARENA_DATA`` names, is the victim; one
thread. A defense that is trained is trained briefly: that makes its answers worse, not slower.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attacks import best, over_seeds, percent
from torch import Tensor, nn

from arena import Protected, protect
from arena.contracts import Spec, Task
from arena.defenses.deep_defense import DeepDefense
from arena.defenses.parts.layer_weights import layers_of, selected, sensitivities, split_of, weights_of
from arena.defenses.prediction_poisoning import LEAD, angles, poisoned
from arena.learning.architectures import build
from arena.learning.tensors import canonical
from arena.learning.training import fit, one_hot, one_thread, predict
from arena.match.site import default_data
from arena.match.victims import load_splits
from arena.metrics.utility import count_broken_promises
from arena.payoff.comparison import against_defense
from arena.payoff.matrix import PayoffMatrix, matrices
from arena.referee.journal import read_journal
from arena.registry import build_defense, complete, names, player_fields

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ARCH, SMALL_ARCH = "bench-cnn", "medium-cnn"  # the second is what tournaments attack
VICTIM_STEPS, BRIEF_STEPS, LR = 600, 20, 2e-3
BATCHES = (1, 256)
SECONDS, FEWEST, MOST = 2.0, 3, 400  # of calls that are timed
PROMISED_ROWS, PROMISED_CALL = 10_000, 250
OUTLIERS = 1_000
ANGLE_ROWS = 2_000
ACTIVATIONS = (1, 2)  # counted from the end
KNOCKOFF, UNDEFENDED = "knockoff", "none"


# --- release times


def victim(arch: str, task: Task, training: tuple[Tensor, Tensor]) -> nn.Module:
    network = build(arch, task, rng=torch.Generator().manual_seed(0))
    targets = one_hot(training[1], task.classes)
    fit(network, training[0], targets, steps=VICTIM_STEPS, rng=torch.Generator().manual_seed(1), lr=LR)
    return network.eval().to(DEVICE)


def every_defense(
    network: nn.Module, training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], outliers: Tensor
) -> Iterable[tuple[str, Protected]]:
    for name in names("defense"):
        fields = {field.name for field in player_fields(type(build_defense(complete("defense", Spec(name=name)))))}
        brief: dict[str, Any] = {"steps": BRIEF_STEPS} if "steps" in fields and not name.startswith("deep") else {}
        yield (
            name,
            protect(
                network, name, training=training, validation=validation, outliers=outliers, surrogate="random", **brief
            ),
        )


def milliseconds(call: Callable[[], object]) -> list[float]:
    """Return the wall time of calls, in ascending order, for about `SECONDS`."""
    call()
    took: list[float] = []
    while len(took) < FEWEST or (sum(took) < SECONDS * 1e3 and len(took) < MOST):
        synchronise()
        start = time.perf_counter()
        call()
        synchronise()
        took.append((time.perf_counter() - start) * 1e3)
    return sorted(took)


def each(release: Callable[[Tensor], object], asked: Iterator[Tensor]) -> Callable[[], object]:
    """Return a call of ``release`` that takes the next rows every time."""
    return lambda: release(next(asked))


def synchronise() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def print_release_times(network: nn.Module, defenses: Sequence[tuple[str, Protected]], rows: Tensor) -> None:
    head = [f"{rows_} rows: p50 ms | p95 ms | x forward" for rows_ in BATCHES]
    print(f"\n### Release times on {DEVICE}\n\n| defense | " + " | ".join(head) + " |")
    print("|---|" + "--:|" * 3 * len(BATCHES))
    for name, defense in [("forward alone", None), *defenses]:
        cells = []
        for size in BATCHES:
            asked = itertools.cycle(rows.split(size))  # detectors with a memory see new rows
            bare = milliseconds(each(lambda rows: predict(network, rows), asked))
            took = milliseconds(each(defense, asked)) if defense else bare
            ratio = percentile(took, 0.5) / percentile(bare, 0.5)
            cells += [f"{percentile(took, 0.5):.2f}", f"{percentile(took, 0.95):.2f}", f"{ratio:.2f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_search(network: nn.Module, rows: Tensor) -> None:
    """Print MAD-argmax's parts at 256 rows: the search, and the surrogate's forward, which is another model's."""
    call = rows[: BATCHES[-1]]
    clean = predict(network, call)
    guesses = build(ARCH, Task(shape=tuple(rows.shape[1:]), classes=clean.shape[1]), rng=torch.Generator())
    guessed = predict(guesses.eval(), call)
    forward, search, stand_in = (
        percentile(milliseconds(part), 0.5)
        for part in (
            lambda: predict(network, call),
            lambda: poisoned(clean, guessed, epsilon=0.5, argmax=True),
            lambda: predict(guesses, call),
        )
    )
    print("\n### MAD-argmax at 256 rows, K = 10\n\n| part | p50 ms | x forward |\n|---|--:|--:|")
    for name, took in (("search", search), ("the surrogate's forward", stand_in)):
        print(f"| {name} | {took:.2f} | {took / forward:.2f} |")


def print_batching(networks: Mapping[str, nn.Module], training: tuple[Tensor, Tensor], rows: Tensor) -> None:
    print("\n### DeepDefense, the same 64 queries together and one by one\n")
    print("| network | weights | sensitivity | CPU ms a query, alone | together | ratio | largest difference |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    assert DeepDefense.sweep is not None
    for (name, network), share in itertools.product(networks.items(), DeepDefense.sweep[1]):
        found: list[tuple[float, Tensor]] = []
        for at_once in (1, DeepDefense().at_once):
            defense = protect(network, "deep-defense", training=training, at_once=at_once, sensitivity=share)
            defense(rows[:at_once])
            start = time.process_time()
            answer = defense(rows[:64])
            found.append(((time.process_time() - start) / 64 * 1e3, answer))
        (alone, first), (together, second) = found
        weights = sum(value.numel() for value in network.parameters())
        print(
            f"| {name} | {weights:,} | {share:g} | {alone:.1f} | {together:.1f} | {alone / together:.2f} | "
            f"{float((first - second).abs().max()):.1e} |",
            flush=True,
        )


def print_layers(network: nn.Module, training: tuple[Tensor, Tensor], rows: Tensor) -> None:
    """Print DeepDefense's time by activation and by the share of the sensitivity that is moved, with MAD's beside it."""
    print("\n### DeepDefense by activation and sensitivity, MAD beside it, calls of 64 queries\n")
    print("| defense | activation from the end | sensitivity | layers moved | weights moved | CPU ms a query |")
    print("|---|--:|--:|--:|--:|--:|")
    assert DeepDefense.sweep is not None
    for back, share in itertools.product(ACTIVATIONS, DeepDefense.sweep[1]):
        split = split_of(network, back=back)
        weights = weights_of(split)
        sensitivity = sensitivities(split, training[0][: DeepDefense().rows].to(DEVICE))
        moved = selected(weights, [float(value) for value in sensitivity.values()], share=share)
        defense = protect(network, "deep-defense", training=training, back=back, sensitivity=share)
        layers = len(layers_of({name: weights[name] for name in moved}))
        print(
            f"| deep-defense | {back} | {share:g} | {layers} of {len(sensitivity)} | "
            f"{sum(weights[name].numel() for name in moved):,} | {cpu_ms_a_query(defense, rows):.2f} |",
            flush=True,
        )
    mad = protect(network, "mad-argmax", training=training, epsilon=1.0)
    print(f"| mad-argmax | | | | | {cpu_ms_a_query(mad, rows):.2f} |")


def cpu_ms_a_query(defense: Callable[[Tensor], object], rows: Tensor) -> float:
    """Return the CPU time of a query in the second of two calls of 64."""
    defense(rows[:64])
    start = time.process_time()
    defense(rows[64:128])
    return (time.process_time() - start) / 64 * 1e3


# --- MAD's angles


def print_angles() -> None:
    """Print the mean angle by search, beside every vertex one by one and, of three classes, a grid of the whole ball."""
    random = torch.Generator().manual_seed(0)
    print("\n### MAD-argmax's angle in degrees, by search\n")
    print("| K | p | epsilon | paper | scaled | rows where paper is better | reference | scaled / reference, worst |")
    print("|---|---|--:|--:|--:|--:|---|--:|")
    for classes, spread, epsilon in itertools.product((3, 10, 14), (0.1, 2.0), (0.1, 0.5, 1.0)):
        y = torch.randn(ANGLE_ROWS, classes, generator=random).mul(3).softmax(dim=1).double()
        p = torch.randn(ANGLE_ROWS, classes, generator=random).mul(spread).softmax(dim=1).double()
        ours = {
            search: angles(poisoned(y, p, epsilon=epsilon, argmax=True, search=search), y, p)
            for search in ("paper", "scaled")
        }
        worse = int((ours["scaled"] < ours["paper"] - 1e-6).sum())
        reference, name = (on_a_grid, "grid of the ball") if classes == 3 else (every_vertex, "every vertex")
        some = slice(0, 40)
        best = torch.stack([reference(*pair, epsilon) for pair in zip(y[some], p[some], strict=True)])
        ratio = float((ours["scaled"][some] / best.clamp(min=1e-9)).min())
        print(
            f"| {classes} | {'flat' if spread < 1 else 'trained'} | {epsilon:g} | {ours['paper'].mean():.1f} | "
            f"{ours['scaled'].mean():.1f} | {worse} of {ANGLE_ROWS:,} | {name} {best.mean():.1f} (scaled "
            f"{ours['scaled'][some].mean():.1f}) | {ratio:.3f} |"
        )


def every_vertex(y: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """Return the largest angle that any of the 2^(K - 1) vertices gives after scaling."""
    others = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(y) - 1)), dtype=torch.float64)
    predicted = int(y.argmax())
    vertices = torch.cat([others[:, :predicted], torch.ones(len(others), 1), others[:, predicted:]], dim=1)
    vertices[:, predicted] += LEAD
    vertices /= vertices.sum(dim=1, keepdim=True)
    weight = (epsilon / (vertices - y).abs().sum(dim=1, keepdim=True)).clamp(max=1)
    rows = (1 - weight) * y + weight * vertices
    return angles(rows, y.expand_as(rows), p.expand_as(rows)).max()


def on_a_grid(y: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """Return the largest angle of any row in the ball that keeps the argmax, on a grid of three classes."""
    ticks = torch.linspace(0, 1, 401, dtype=torch.float64)
    first, second = torch.meshgrid(ticks, ticks, indexing="ij")
    rows = torch.stack([first, second, 1 - first - second], dim=2).flatten(0, 1)
    within = (rows[:, 2] >= 0) & ((rows - y).abs().sum(dim=1) <= epsilon) & (rows.argmax(dim=1) == y.argmax())
    rows = rows[within]
    return angles(rows, y.expand_as(rows), p.expand_as(rows)).max() if len(rows) else torch.tensor(0.0)


# --- promises


def print_promises(network: nn.Module, defenses: Sequence[tuple[str, Protected]], rows: Tensor) -> None:
    """Print how many of 10,000 released rows break what a defense promises, and how many have another argmax."""
    print(f"\n### Promises, {len(rows):,} queries\n")
    print("| defense | promise | rows that break it | other argmax | refused | mean L1 | largest L1 |")
    print("|---|---|--:|--:|--:|--:|--:|")
    with one_thread():
        clean = torch.cat([predict(network, part) for part in canonical(rows).split(PROMISED_CALL)]).cpu()
    for name, protected in defenses:
        answers = [protected.answer(part) for part in rows.split(PROMISED_CALL)]
        refused = torch.cat([answer.refused for answer in answers])
        everything = torch.cat([answer.posteriors for answer in answers])
        released, honest = everything[~refused], clean[~refused]
        promise = protected.defense.promise
        broken = count_broken_promises(promise, clean=clean, released=everything, refused=refused, decimals=None)
        moved = (released.double() - honest.double()).abs().sum(dim=1)
        said = [word for word, holds in (("argmax", promise.argmax), ("L1", promise.l1 is not None)) if holds]
        counts = ", ".join(f"{hits}" for hits, _ in broken.values()) or "-"
        print(
            f"| {name} | {', '.join(said) or 'simplex'} | {counts} | "
            f"{int((released.argmax(dim=1) != honest.argmax(dim=1)).sum()):,} | {int(refused.sum()):,} | "
            f"{moved.mean() if len(moved) else 0:.3f} | {moved.max() if len(moved) else 0:.3f} |",
            flush=True,
        )


# --- tables of run folders


def print_matrix(matrix: PayoffMatrix) -> None:
    """Print a row a defense: what honest users get, what each attack steals, the worst case, promises that broke."""
    terms = matrix.setting
    print(f"\n### {terms.victim}, pool {terms.pool}, {terms.budget:,} rows\n")
    shorts = [matrix.short(attack) for attack in matrix.attacks]
    columns = [f"{short}: fidelity on track A | A-hard | its best | accuracy there" for short in shorts]
    print(
        "| defense | victim as deployed | honest rows served right | " + " | ".join(columns) + " | worst case |", end=""
    )
    print(" worst - undefended | told apart | promises broken | flags |")
    print("|---|--:|--:|" + "--:|--:|--:|--:|" * len(shorts) + "--:|--:|---|---|---|")
    undefended = matrix.named(UNDEFENDED)
    for defense in matrix.defenses:
        results = matrix.of_defense(defense)
        cells = []
        for attack in matrix.attacks:
            found = matrix.results.get((attack, defense), ())
            cells += [
                over_seeds(found, "a/fidelity"),
                over_seeds(found, "a-hard/fidelity"),
                *(percent(best(found, kind)) for kind in ("fidelity", "accuracy")),
            ]
        worst = matrix.worst_case(defense)
        gain, told = difference(matrix, defense, undefended)
        broken = sum(
            hits for result in results for key, (hits, _) in result.counts.items() if key.startswith("promise/")
        )
        flags = sorted({flag for result in results for flag in result.flags})
        deployed = (
            "deployed/accuracy" if any("deployed/accuracy" in one.counts for one in results) else "victim/accuracy"
        )
        print(
            f"| {matrix.short(defense)} | {over_seeds(results[:1], deployed)} | {over_seeds(results, 'utility/kept')} | "
            + " | ".join(cells)
            + f" | {percent(worst.interval if worst else None)} | {gain} | {told} | {broken} | {', '.join(flags)} |"
        )


def difference(matrix: PayoffMatrix, defense: str, undefended: str | None) -> tuple[str, str]:
    """Return how much less the attack that is worst for a defense gets than without one, and whether it is told apart."""
    if undefended is None or defense == undefended:
        return "", ""
    means = {
        attack: statistics.fmean(cell.values())
        for attack in matrix.attacks
        if (cell := matrix.payoffs.get((attack, defense)))
    }
    worst = max(means, key=lambda attack: means[attack])
    for one in against_defense(matrix, undefended, worst):
        if one.player == defense:
            return (
                f"{100 * one.difference.mean:+.1f} ±{100 * (one.difference.half or 0):.1f}",
                "yes" if one.distinct else "no",
            )
    return "", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    arguments = parser.parse_args()
    if arguments.folders:
        for matrix in matrices(result for folder in arguments.folders for result in read_journal(folder)):
            print_matrix(matrix)
        return
    print_angles()
    if default_data() is None:
        print("\nrelease times and promises need Fashion-MNIST: name its folder with ARENA_DATA")
        return
    own, other = (load_splits(Spec(name=name), default_data()) for name in ("fashion-mnist", "mnist"))
    rows = torch.cat([own.pool, other.pool])
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))]
    large, small = networks = [victim(arch, own.task, own.training) for arch in (ARCH, SMALL_ARCH)]

    def defenses(network: nn.Module) -> list[tuple[str, Protected]]:
        """With memories that have seen nothing."""
        return list(every_defense(network, own.training, own.validation, other.training[0][:OUTLIERS]))

    print_search(large, rows)
    print_batching(dict(zip((ARCH, SMALL_ARCH), networks, strict=True)), own.training, rows)
    print_layers(small, own.training, rows)
    print_release_times(large, defenses(large), rows)
    print_promises(small, defenses(small), rows[:PROMISED_ROWS])


if __name__ == "__main__":
    main()
