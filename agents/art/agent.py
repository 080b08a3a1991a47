"""Play a model extraction attack of the Adversarial Robustness Toolbox as an entry: its victim is the oracle.

Source: Nicolae et al., "Adversarial Robustness Toolbox", arXiv 1807.01069: its Knockoff Nets (Orekondy, Schiele, Fritz,
CVPR 2019, arXiv 1812.02766) and Copycat CNN (Correia-Silva et al., IJCNN 2018, arXiv 1806.05476), as the library
implements them, with its defaults of 10 epochs in batches of one.
Departures: Probabilities are learned as they are, by a soft cross entropy; the library's own loss would turn them into
labels. The library draws from global generators, which are seeded for the attack and restored after it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn

from arena.contracts import Attack, AttackContext, Need, NeedUnmet, Oracle, StopReason
from arena.learning.architectures import build
from arena.learning.training import soft_cross_entropy

try:
    from art.attacks.extraction import CopycatCNN, KnockoffNets
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork, PyTorchClassifier
except ImportError as missing:
    INSTALL = "this entry needs the Adversarial Robustness Toolbox: pip install 'model-stealing-arena[art]'"
    raise NeedUnmet(INSTALL) from missing


@dataclass(frozen=True, kw_only=True)
class ArtExtraction(Attack):
    """``method`` names the library's attack, ``probabilities`` False makes it learn labels, and ``lr`` is Adam's."""

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted"})

    method: Literal["knockoff", "copycat"] = "knockoff"
    probabilities: bool = True
    arch: str = "auto"
    epochs: int = 10
    batch: int = 1
    lr: float = 1e-3

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Let the library choose rows, query the oracle through its black-box estimator, and train its clone."""
        budget, shape = oracle.remaining, oracle.task.shape
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)

        def answer(inputs: np.ndarray) -> np.ndarray:
            return oracle.query(torch.from_numpy(np.asarray(inputs, dtype=np.float32))).posteriors.numpy()

        victim = BlackBoxClassifierNeuralNetwork(answer, input_shape=shape, nb_classes=oracle.task.classes)
        estimator = PyTorchClassifier(
            clone,
            loss=_SoftCrossEntropy(),
            optimizer=torch.optim.Adam(clone.parameters(), lr=self.lr),
            input_shape=shape,
            nb_classes=oracle.task.classes,
            device_type="gpu" if context.device.type == "cuda" else "cpu",
        )
        kind = KnockoffNets if self.method == "knockoff" else CopycatCNN
        arguments = {"verbose": False} if self.method == "knockoff" else {}
        attack = kind(
            victim,
            batch_size_fit=self.batch,
            batch_size_query=budget,  # a single query, which the oracle splits into calls as it does for every attack
            nb_epochs=self.epochs,
            nb_stolen=budget,
            use_probability=self.probabilities,
            **arguments,
        )
        with _seeded(rng):
            attack.extract(context.pool.numpy(), thieved_classifier=estimator)
        return clone.eval()


class _SoftCrossEntropy(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return soft_cross_entropy(logits, targets)


@contextlib.contextmanager
def _seeded(rng: Generator) -> Iterator[None]:
    """Seed every global generator from ``rng`` inside the context, and restore their states after it."""
    seed = int(torch.randint(2**31, (1,), generator=rng))
    words, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(words)
            np.random.set_state(numbers)
