"""Victims: trained once per hash of everything that determines them, or loaded from a file of weights."""

from __future__ import annotations

import functools
import typing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from arena.contracts import BadParameter, Spec, Task, checked, nearest
from arena.data.datasets import load
from arena.data.splits import Splits, split
from arena.learning.architectures import build
from arena.learning.normalisation import check_channels, check_normalisation
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of, load_state
from arena.learning.training import predict
from arena.match.cache import Cache
from arena.match.site import Site
from arena.match.victim_training import normalised, train_victim
from arena.match.weights import fill
from arena.provenance import code_digest_of

TRAINING = "arena.match.victim_training"  # the module that trains victims
CHECKED_ROWS = 6  # of the victim's own rows; with black and white, they fill the smallest forward pass


@dataclass(frozen=True, kw_only=True)
class VictimTerms:
    """Parameters of a victim beside its data set: network, training, size of splits."""

    arch: str = "auto"  # medium-cnn for images up to 64x64, else resnet18; linear for tables
    steps: int | None = None  # of 64 rows; None: five passes, at least 1,000 steps
    lr: float = 3e-3
    weights: str = ""  # a safetensors file of ``arch``'s state dict: nothing is trained
    mean: tuple[float, ...] = ()  # subtracted before the network, for inputs in [0, 1]; one number, or one per channel
    std: tuple[float, ...] = ()  # by which the difference is divided
    remembers: int = 0  # training rows that malicious training code hides in the network, for the threat memorisation
    training: int | None = None  # rows of each split; None: the data set's default
    validation: int | None = None
    honest: int | None = None
    pool: int | None = None
    test: int | None = None
    side: int | None = None  # images are resized to this square side
    grey: bool = False
    label: str = ""  # of a table of your own: the column with its classes
    drop: tuple[str, ...] = ()  # columns of such a table that are left out


class NetworkVictim:
    """A trained network behind the `Victim` protocol; posteriors come back on the CPU."""

    def __init__(self, module: nn.Module, task: Task) -> None:
        self.module: nn.Module | None = module
        self.task = task
        self._network = module

    def __call__(self, inputs: Tensor) -> Tensor:
        return predict(self._network, inputs)


def victim_terms(spec: Spec) -> VictimTerms:
    """Return the parameters of a victim's spec. Raises `BadParameter` with the nearest known name, or for a value."""
    hints = typing.get_type_hints(VictimTerms)
    values = {}
    for key, value in spec.params:
        if key not in hints:
            message = f"victim {spec.name} has no parameter {key!r}{nearest(key, hints)}; it has {', '.join(hints)}"
            raise BadParameter(message)
        values[key] = checked(f"victim {spec.name}", key, value, hints[key])
    terms = VictimTerms(**values)  # type: ignore[arg-type]  # each value is of its field's type by now
    if terms.steps is not None and terms.steps < 1:
        message = f"victim {spec.name}: steps must be a whole number above 0, not {terms.steps!r}"
        raise BadParameter(message)
    if terms.remembers < 0 or (terms.remembers and terms.weights):
        message = f"victim {spec.name}: remembers = {terms.remembers} must be at least 0, and 0 for a file of weights"
        raise BadParameter(message)
    check_normalisation(f"victim {spec.name}", terms.mean, terms.std)
    return terms


@functools.lru_cache(maxsize=4)
def load_splits(spec: Spec, data: Path | None) -> Splits:
    """Return the splits of a victim's data set. Raises `UnknownName`, `BadParameter`, `DataMissing`."""
    terms = victim_terms(spec)
    return split(
        load(spec.name, folder=data, side=terms.side, grey=terms.grey, label=terms.label, drop=terms.drop),
        training=terms.training,
        validation=terms.validation,
        honest=terms.honest,
        pool=terms.pool,
        test=terms.test,
    )


@functools.lru_cache(maxsize=8)
def load_victim(spec: Spec, seed: int, site: Site) -> NetworkVictim:
    """Return the victim, trained now if no cache holds it."""
    splits = load_splits(spec, site.data)
    task = splits.task
    terms = victim_terms(spec)
    check_channels(f"victim {spec.name}", terms.mean, task)
    network = build(victim_architecture(terms, task), task, rng=generator(seed, "victim", "initialisation"))
    module = normalised(network, terms.mean, terms.std)
    if terms.weights:
        fill(network, Path(terms.weights))
    else:
        stored = Cache(folder=site.cache).once(
            victim_key(spec, seed, site),
            lambda: train_victim(
                network,
                module,
                splits.training,
                steps=terms.steps,
                lr=terms.lr,
                rng=generator(seed, "victim", "training"),
                device=site.device,
                remembers=min(terms.remembers, len(splits.training[1])),
            ),
        )
        network.load_state_dict(load_state(stored))
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    victim = NetworkVictim(module.eval().to(site.device), task)
    _check_answers(spec, victim, splits)
    return victim


def _check_answers(spec: Spec, victim: NetworkVictim, splits: Splits) -> None:
    """Raise `BadParameter` if a victim answers what no probability can be, for its own rows or for black and white."""
    own = splits.validation[0][:CHECKED_ROWS]
    answers = victim(torch.cat([own, torch.zeros_like(own[:1]), torch.ones_like(own[:1])]))
    if not bool(answers.isfinite().all()):
        weights = dict(spec.params).get("weights")
        cause = (
            f"check the values in {weights}, and mean and std"
            if weights
            else "its training diverged, so set lr to a smaller value"
        )
        message = f"victim {spec.name} answers rows that are not finite and therefore no probabilities: {cause}"
        raise BadParameter(message)


@functools.lru_cache(maxsize=64)
def victim_key(spec: Spec, seed: int, site: Site) -> str:
    """Return the name of a victim in caches: a hash of data, network, training, seed, torch and our training code."""
    splits = load_splits(spec, site.data)
    about = [victim_digest(spec), str(seed), torch.device(site.device).type, torch.__version__]
    return "victim-" + digest_of([*splits.training, *about])


def victim_digest(spec: Spec) -> str:
    """Return the digest of how a victim comes to be from its data: network, training, weights, and our code for it."""
    terms = victim_terms(spec)
    code = [code_digest_of(module) for module in ("arena.learning.architectures", TRAINING)]
    weights = [Path(terms.weights).read_bytes()] if terms.weights and Path(terms.weights).is_file() else []
    training = (terms.arch, terms.steps, terms.lr, terms.mean, terms.std, terms.remembers)
    return digest_of([repr(training), *code, *weights])


def data_digest(spec: Spec, site: Site) -> str:
    """Return the digest of every row and label of a victim's splits."""
    return _data_digest(spec, site.data)


@functools.lru_cache(maxsize=64)
def _data_digest(spec: Spec, data: Path | None) -> str:
    splits = load_splits(spec, data)
    labelled = (splits.training, splits.validation, splits.honest, splits.test)
    return digest_of([splits.pool, *(part for split in labelled for part in split), *splits.class_names])


def victim_architecture(terms: VictimTerms, task: Task) -> str:
    """Return the victim's network: ``auto`` is linear for tables, medium-cnn up to 64x64, else ResNet-18."""
    if terms.arch != "auto":
        return terms.arch
    if len(task.shape) == 1:
        return "linear"
    return "medium-cnn" if max(task.shape[1:]) <= 64 else "resnet18"
