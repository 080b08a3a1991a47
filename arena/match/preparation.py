"""Prepares the defended victim of a match: it is trained once, cached, and audited for outliers that leak the pool."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor, nn

from arena.contracts import (
    Defense,
    DefenseContext,
    DefenseFault,
    Explainer,
    Matchup,
    MeasureName,
    Spec,
    State,
)
from arena.data import pools
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of, load_state, save_state
from arena.learning.training import one_thread
from arena.match.cache import Cache
from arena.match.leak_audit import LeakAudit, audit_leak
from arena.match.rows import load_outliers, load_pool, outlier_source_of
from arena.match.site import Site
from arena.match.surrogates import Surrogate, keep_attackers_clone, load_surrogate
from arena.match.victims import NetworkVictim, load_splits, load_victim, victim_key
from arena.oracle.interrupts import is_operators
from arena.registry import Identified, build_explanation, sources_digest_of


@dataclass(frozen=True, kw_only=True, eq=False)
class DefendedVictim:
    """A victim with its trained defense, ready for deployment, and the results of the referee's leak audit."""

    context: DefenseContext
    state: State
    flags: tuple[str, ...] = ()
    measures: Mapping[MeasureName, float] = field(default_factory=dict)
    artefacts: tuple[str, ...] = ()  # the cache keys from which another node can rebuild the same defended victim


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outliers:
    rows: Tensor | None = None
    audit: LeakAudit = field(default_factory=LeakAudit)


def prepare(
    matchup: Matchup, defense: Defense, site: Site, *, shadow: Callable[[Matchup], nn.Module] | None = None
) -> DefendedVictim:
    """Return the defended victim of a matchup, and train what is not cached.

    ``shadow`` plays a matchup and returns the attack's clone. It is needed if the surrogate is the attacker's clone and
    is not cached. Raises `DefenseFault` if the training of the defense fails.
    """
    terms = replace(matchup, informed=False, decimals=None, curve=())
    if matchup.knowledge.surrogate == "attacker":
        if shadow is not None:
            keep_attackers_clone(terms, site, shadow)
    else:  # every attack, budget and seed gets the same defended victim
        terms = replace(terms, attack=Spec(name=""), budget=1, accounts=1, seed=0)
        if matchup.knowledge.outliers == "none":
            terms = replace(terms, pool="none", pool_source="")
    return _prepare(terms, defense, site)


@functools.lru_cache(maxsize=16)
def _prepare(matchup: Matchup, defense: Defense, site: Site) -> DefendedVictim:
    splits = load_splits(matchup.victim, site.data)
    victim = load_victim(matchup.victim, matchup.victim_seed, site)
    outliers = _outliers(matchup, victim, site)
    surrogate = load_surrogate(matchup, site) if matchup.knowledge.surrogate != "none" else None
    context = DefenseContext(
        victim=victim,
        device=torch.device(site.device),
        training=splits.training,
        validation=splits.validation,
        outliers=outliers.rows,
        surrogate=surrogate.network if surrogate else None,
        explanation=build_explanation(matchup.explanation) if matchup.explanation is not None else None,
        explainer=explainer_of(matchup, victim, splits.training[0]),
    )
    victims_key = victim_key(matchup.victim, matchup.victim_seed, site)
    about: list[str | Tensor] = [victims_key, site.secret.digest, repr(matchup.explanation), *splits.validation]
    key = _training_key(about, defense, surrogate, outliers.rows)
    state = load_state(Cache(folder=site.cache).once(key, lambda: train_defense(matchup, defense, context, site)))
    return DefendedVictim(
        context=context,
        state=state,
        flags=outliers.audit.flags,
        measures=outliers.audit.measures,
        artefacts=(victims_key, *((surrogate.key,) if surrogate else ()), key),
    )


def explainer_of(matchup: Matchup, victim: NetworkVictim, references: Tensor) -> Explainer | None:
    """Return the victim's explainer if the matchup offers explanations."""
    if matchup.explanation is None or victim.module is None:
        return None
    rng = generator(matchup.victim_seed, "explanation")
    return build_explanation(matchup.explanation).deploy(victim.module, references, rng=rng)


def _outliers(matchup: Matchup, victim: NetworkVictim, site: Site) -> _Outliers:
    """Return the out-of-distribution rows that a defense is given, audited against the attack's pool."""
    known = matchup.knowledge
    if known.outliers == "none":
        return _Outliers()
    splits = load_splits(matchup.victim, site.data)
    pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    rows = load_outliers(matchup.victim, known, matchup.pool, matchup.pool_source, site)
    source = outlier_source_of(matchup, site)
    declared = known.outliers == "pool" or source in pools.sources(matchup.pool, matchup.pool_source, splits=splits)
    return _Outliers(rows=rows, audit=audit_leak(victim, rows, pool, declared_overlap=declared))


def _training_key(
    about: Sequence[str | Tensor], defense: Defense, surrogate: Surrogate | None, outliers: Tensor | None
) -> str:
    """Return the key of a trained defense: a digest of what its training reads, not of what only its answers need."""
    read = list(about)
    if surrogate is not None and "surrogate" in defense.needs:
        read.append(surrogate.key)
    seen = [outliers] if outliers is not None else []
    return "defense-" + digest_of([*player_parts(defense, trained=True), *read, *seen])


def player_parts(defense: Defense, *, trained: bool) -> list[str]:
    """Return the code of a defense and its fields, followed by those of its base; if ``trained``, what training reads."""
    if isinstance(defense, Identified):
        return [defense.identity]
    values = {item.name: getattr(defense, item.name) for item in fields(defense)}  # type: ignore[arg-type]  # every player is a dataclass
    read = [(name, value) for name, value in values.items() if name in defense.trained_by or not trained]
    kind = type(defense)  # the module of an entry is named after the digest of its folder
    parts = [f"{kind.__module__}.{kind.__qualname__}", sources_digest_of(kind), repr(read)]
    for value in values.values():
        if isinstance(value, Defense):
            parts += player_parts(value, trained=trained)
    return parts


def train_defense(matchup: Matchup, defense: Defense, context: DefenseContext, site: Site) -> bytes:
    """Train a defense now, whatever a cache holds, and return its state as safetensors. Raises `DefenseFault`."""
    rng = site.secret.generator(matchup.victim_seed, "defense", "training")
    try:
        with one_thread():
            return save_state(defense.train(context, rng=rng))
    except BaseException as error:
        if is_operators(error):
            raise
        message = f"the training of {matchup.defense.name} failed: {type(error).__name__}: {error}"
        raise DefenseFault(message) from error
