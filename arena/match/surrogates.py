"""Surrogates, a defense's stand-in for the unknown clone: untrained, distilled from the victim, or the attack's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from arena.contracts import UNDEFENDED, ArenaFault, Knowledge, Matchup, SurrogateKind, Victim
from arena.learning.architectures import Classifier, architecture_of, build
from arena.learning.distillation import distil
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of
from arena.learning.training import one_thread
from arena.match.cache import Cache
from arena.match.clones import pack_clone, unpack_clone
from arena.match.rows import pool_digest
from arena.match.site import Site
from arena.match.victims import NetworkVictim, load_splits, load_victim, victim_key
from arena.provenance import code_digest_of
from arena.registry.building import code_digest

SHADOW_MATCH = "arena.match.play"  # the module whose code decides which clone a shadow match gives


@dataclass(frozen=True, kw_only=True, eq=False)
class Surrogate:
    """A surrogate on the site's device, and its key in the cache."""

    network: nn.Module
    key: str


def load_surrogate(matchup: Matchup, site: Site) -> Surrogate:
    """Return the surrogate that a matchup gives its defense; it is trained now unless it is cached.

    Raises `ArenaFault` if it is the attacker's clone and `keep_attackers_clone` has not put it into the cache.
    """
    kind, seed = matchup.knowledge.surrogate, matchup.victim_seed
    victim = load_victim(matchup.victim, seed, site)

    def make() -> bytes:
        if kind == "attacker":
            message = "the attacker's clone, which is to be the surrogate, is not in the cache and cannot be made here"
            raise ArenaFault(message)
        inputs, _ = load_splits(matchup.victim, site.data).training
        return pack_clone(make_surrogate(kind, victim, inputs, seed=seed, secret=site.secret.value))

    key = _key(matchup, victim, site)
    stored = Cache(folder=site.cache).once(key, make)
    return Surrogate(network=unpack_clone(stored, victim.task).to(site.device), key=key)


def keep_attackers_clone(matchup: Matchup, site: Site, shadow: Callable[[Matchup], nn.Module]) -> None:
    """Cache the clone that the matchup's attack extracts from the undefended victim, unless it is cached.

    ``shadow`` plays the undefended matchup and returns the attack's clone.
    """
    victim = load_victim(matchup.victim, matchup.victim_seed, site)
    Cache(folder=site.cache).once(_key(matchup, victim, site), lambda: pack_clone(shadow(_shadowed(matchup))))


def make_surrogate(
    kind: SurrogateKind, victim: Victim, inputs: Tensor, *, seed: int, secret: bytes = b""
) -> Classifier:
    """Return a surrogate: with random weights, or trained on the victim's posteriors by the recipe of track A."""
    rng = generator(seed, "surrogate", kind, secret=secret)
    network = build(_architecture(kind, victim), victim.task, rng=rng).eval()
    if kind != "random":
        with one_thread():
            distil(network, inputs, victim(inputs), rng=generator(seed, "surrogate", "training", secret=secret))
    return network


def _key(matchup: Matchup, victim: NetworkVictim, site: Site) -> str:
    kind = matchup.knowledge.surrogate
    victims = victim_key(matchup.victim, matchup.victim_seed, site)
    parts = [victims, site.secret.digest, kind, _architecture(kind, victim)]
    if kind == "attacker":
        parts += [repr(_shadowed(matchup)), code_digest("attack", matchup.attack), code_digest_of(SHADOW_MATCH)]
        parts.append(pool_digest(matchup, site))
    return "surrogate-" + digest_of(parts)


def _shadowed(matchup: Matchup) -> Matchup:
    return replace(matchup, defense=UNDEFENDED, knowledge=Knowledge())


def _architecture(kind: SurrogateKind, victim: Victim) -> str:
    own = architecture_of(victim.module, victim.task)
    return _other(own, len(victim.task.shape)) if kind == "other-architecture" else own


def _other(arch: str, dimensions: int) -> str:
    """Return an architecture of another family than ``arch``."""
    if dimensions == 1:
        return "linear" if arch.startswith("mlp") else "mlp"
    return "small-cnn" if arch.startswith("mlp") else "mlp"
