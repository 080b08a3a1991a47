"""Does it pay to train several clones at once? Stacked weights under vmap against one after another, in CPU time.

``python benchmarks/stacked.py`` prints ratios measured in turn. Two are the tracks A and A-hard of one match, five the
seeds of one cell; a stacked clone is not the same to the bit.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from arena.contracts import Task
from arena.learning.architectures import Classifier, build
from arena.learning.training import batches, fit, soft_cross_entropy

TASKS = {"8x8": Task(shape=(1, 8, 8), classes=10), "28x28": Task(shape=(1, 28, 28), classes=10)}
ROWS, STEPS, BATCH, LR, ROUNDS = 1_000, 200, 64, 3e-3, 5


def fresh(task: Task, seed: int) -> Classifier:
    return build("auto", task, rng=torch.Generator().manual_seed(seed))


def one_by_one(task: Task, inputs: Tensor, targets: Tensor) -> None:
    for seed in range(len(inputs)):
        rng = torch.Generator().manual_seed(seed)
        fit(fresh(task, seed), inputs[seed], targets[seed], steps=STEPS, rng=rng, lr=LR, batch=BATCH)


def at_once(task: Task, inputs: Tensor, targets: Tensor) -> None:
    clones = [fresh(task, seed).body for seed in range(len(inputs))]  # the wrapper's memory format is not for vmap
    stacked, buffers = stack_module_state(clones)
    weights = {name: value.detach().contiguous().requires_grad_(True) for name, value in stacked.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=LR, fused=True)

    def loss(own: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return soft_cross_entropy(functional_call(clones[0], (own, buffers), (x,)), y)

    drawn = [
        batches(ROWS, batch=BATCH, steps=STEPS, rng=torch.Generator().manual_seed(seed)) for seed in range(len(inputs))
    ]
    for step, chosen in enumerate(zip(*drawn, strict=True)):
        optimiser.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        which = torch.arange(len(inputs)).unsqueeze(1), torch.stack(chosen)
        optimiser.zero_grad(set_to_none=True)
        vmap(loss)(weights, buffers, inputs[which], targets[which]).sum().backward()
        optimiser.step()


def main() -> None:
    torch.set_num_threads(1)
    print("| inputs | clones | CPU s one by one | CPU s at once | ratio |\n|---|--:|--:|--:|--:|")
    for (name, task), clones in itertools.product(TASKS.items(), (2, 5)):
        rng = torch.Generator().manual_seed(0)
        inputs = torch.rand(clones, ROWS, *task.shape, generator=rng)
        targets = torch.rand(clones, ROWS, task.classes, generator=rng).softmax(dim=2)
        seconds: dict[str, list[float]] = {"one": [], "all": []}
        for number in range(ROUNDS + 1):
            for side, train in (("one", one_by_one), ("all", at_once)):
                start = time.process_time()
                train(task, inputs, targets)
                if number:  # the first round warms both
                    seconds[side].append(time.process_time() - start)
        one, together = (statistics.median(seconds[side]) for side in ("one", "all"))
        print(f"| {name} | {clones} | {one:.2f} | {together:.2f} | {one / together:.2f} |")


if __name__ == "__main__":
    main()
