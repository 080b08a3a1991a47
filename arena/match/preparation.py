"""What a match needs before it starts: pool, outliers, surrogate, the trained defense, and who knows too much."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from arena.contracts import (
    ArenaFault,
    Attack,
    BadParameter,
    DefenderGround,
    Defense,
    DefenseFault,
    Explainer,
    Knowledge,
    Matchup,
    NeedUnmet,
    PoolKind,
    Spec,
    State,
    SurrogateKind,
    Task,
)
from arena.data import pools
from arena.learning.architectures import Classifier, architecture_of, build, resolve
from arena.learning.distillation import distil
from arena.learning.features import penultimate
from arena.learning.provenance import sources_digest
from arena.learning.randomness import generator
from arena.learning.tensors import digest_of, load_state, row_digests, save_state
from arena.learning.training import one_thread, padded_forward
from arena.match.cache import Cache
from arena.match.clones import pack_clone, unpack_clone
from arena.match.honest import HonestTraffic
from arena.match.site import Site
from arena.match.victims import (
    NetworkVictim,
    load_splits,
    load_victim,
    victim_architecture,
    victim_key,
    victim_terms,
)
from arena.metrics.knowledge import two_sample_accuracy
from arena.registry import build_explanation, build_threat

INDISTINGUISHABLE = 0.6  # accuracy of a classifier between outliers and pool under which the defense knows the pool
AUDITED_ROWS = 400  # of each side
OUTLIER_ROWS = 1_000
POOL_SEED = 0  # one pool for all matches of a victim: seeds differ in what an attack takes of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A defended victim ready for deployment, with what the referee found out about it."""

    ground: DefenderGround
    state: State
    flags: tuple[str, ...] = ()
    measures: tuple[tuple[str, float], ...] = ()
    artefacts: tuple[str, ...] = ()  # keys in the cache from which another node makes the same


def check(matchup: Matchup, attack: Attack, defense: Defense, site: Site) -> tuple[str, ...]:
    """Return what is to be flagged of a matchup before it starts.

    Raises `NeedUnmet` or `BadParameter` if it cannot be played: a need that its terms do not meet, a budget of
    nothing or below the attack's minimum, networks that do not fit the data, a pool that cannot be had; `DataMissing`
    if its data are not here.
    """
    task = load_splits(matchup.victim, site.data).task
    name = matchup.attack.name
    unmet = {
        "pool": matchup.pool == "none" and 'a pool: set pools = ["same"], or near, far, universe',
        "explanations": matchup.explanation is None and "explanations: set explanation to one of the explainers",
        "accounts": matchup.accounts < 2 and "several accounts: set accounts = 2 or more",
        "defense": not matchup.informed and "to know the defense: set informed = true",
    }
    for need in sorted(attack.needs):
        if unmet.get(need):
            message = f"attack {name} needs {unmet[need]}"
            raise NeedUnmet(message)
    for need in sorted(defense.needs & {"outliers", "surrogate"}):
        if getattr(matchup.knowledge, need) == "none":
            message = f"defense {matchup.defense.name} needs {need}: declare {need} with it, such as {_EXAMPLES[need]}"
            raise NeedUnmet(message)
    defense.check(task)
    if matchup.budget < 1:
        message = f"a budget of {matchup.budget} rows buys nothing; it must be 1 or more"
        raise BadParameter(message)
    least = attack.minimum(task)
    if matchup.budget < least:
        message = f"attack {name} cannot play with {matchup.budget} rows; its minimum here is {least}"
        raise BadParameter(message)
    for name, threat in ((spec.name, build_threat(spec)) for spec in matchup.threats):
        if matchup.threat_budget < threat.minimum(task):
            message = f"threat {name} needs threat_budget = {threat.minimum(task)} or more, not {matchup.threat_budget}"
            raise BadParameter(message)
    _check_network(victim_architecture(victim_terms(matchup.victim), task), task)
    _check_network(resolve(matchup.recipe.arch, task), task)
    if matchup.explanation is not None:
        _check_explanation(matchup.explanation, victim_architecture(victim_terms(matchup.victim), task), task)
    load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    flags = {
        "honest rows short": honest_traffic(matchup, site).falls_short,
        "detector cannot fire": defense.earliest > matchup.budget,
    }
    return tuple(flag for flag, holds in flags.items() if holds)


_EXAMPLES = {"outliers": 'outliers = "far"', "surrogate": 'surrogate = "random"'}


def honest_traffic(matchup: Matchup, site: Site) -> HonestTraffic:
    """Return the script of a matchup's honest traffic, at its beginning."""
    inputs, labels = load_splits(matchup.victim, site.data).honest
    return HonestTraffic(
        inputs=inputs,
        labels=labels,
        budget=matchup.budget,
        accounts=matchup.accounts,
        seed=matchup.seed,
    )


@functools.lru_cache(maxsize=8)
def load_pool(victim: Spec, kind: PoolKind, source: str, site: Site) -> Tensor:
    """Return the rows that an attack may query, (M, *shape); M = 0 for ``none``."""
    return pools.pool(kind, source, splits=load_splits(victim, site.data), seed=POOL_SEED, folder=site.data)


def prepare(
    matchup: Matchup, defense: Defense, site: Site, *, shadow: Callable[[Matchup], nn.Module] | None = None
) -> Prepared:
    """Train what must be trained, once, and return the defended victim of a matchup.

    ``shadow`` plays a matchup and returns the clone that its attack stole; it is needed where the surrogate is the
    attacker's and no cache holds it. Raises `DefenseFault` if the defense's training fails.
    """
    shares_clone = matchup.knowledge.surrogate == "attacker"
    terms = replace(matchup, informed=False, decimals=None, curve=())
    if not shares_clone:  # the same defended victim for every attack, budget and seed
        blank = Spec(name="")
        pool_matters = matchup.knowledge.outliers != "none"
        terms = replace(terms, attack=blank, budget=1, accounts=1, seed=0)
        terms = terms if pool_matters else replace(terms, pool="none", pool_source="")
    return _prepare(terms, defense, site, _Shadow(shadow))


class _Shadow:
    """Carries a callback past a cache: two of them are always equal."""

    def __init__(self, play: Callable[[Matchup], nn.Module] | None) -> None:
        self.play = play

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shadow)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=16)
def _prepare(matchup: Matchup, defense: Defense, site: Site, shadow: _Shadow) -> Prepared:
    splits = load_splits(matchup.victim, site.data)
    victim = load_victim(matchup.victim, matchup.victim_seed, site)
    knowledge = matchup.knowledge
    artefacts = [victim_key(matchup.victim, matchup.victim_seed, site)]
    outliers = None
    flags: tuple[str, ...] = ()
    measures: tuple[tuple[str, float], ...] = ()
    if knowledge.outliers != "none":
        pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
        outliers = pools.outliers(
            knowledge.outliers, splits=splits, seed=POOL_SEED, pool_rows=pool, rows=OUTLIER_ROWS, folder=site.data
        )
        assert outliers is not None, "only outliers of kind none are none"
        theirs = pools.sources(matchup.pool, matchup.pool_source, splits=splits)
        shared = bool(pools.sources(knowledge.outliers, splits=splits) & theirs)
        flags, measures = audit(victim, outliers, pool, told=shared or knowledge.outliers == "pool")
    surrogate = None
    if knowledge.surrogate != "none":
        surrogate, key = _surrogate(matchup, victim, site, shadow.play)
        artefacts.append(key)
    ground = DefenderGround(
        victim=victim,
        device=torch.device(site.device),
        training=splits.training,
        validation=splits.validation,
        outliers=outliers,
        surrogate=surrogate,
        explanation=build_explanation(matchup.explanation) if matchup.explanation is not None else None,
        explainer=explainer_of(matchup, victim, splits.training[0]),
    )
    key = _training_key(matchup, defense, artefacts, outliers)
    state = load_state(Cache(folder=site.cache).once(key, lambda: _train(matchup, defense, ground)))
    return Prepared(ground=ground, state=state, flags=flags, measures=measures, artefacts=(*artefacts, key))


def explainer_of(matchup: Matchup, victim: NetworkVictim, references: Tensor) -> Explainer | None:
    """Return the victim's explainer if the matchup offers explanations."""
    if matchup.explanation is None or victim.module is None:
        return None
    rng = generator(matchup.victim_seed, "explanation")
    return build_explanation(matchup.explanation).deploy(victim.module, references, rng=rng)


@functools.lru_cache(maxsize=32)
def _check_explanation(explanation: Spec, arch: str, task: Task) -> None:
    """Raise `BadParameter` if a network of this name has nothing that can be explained so."""
    network = build(arch, task, rng=generator(0, "check")).eval()
    explainer = build_explanation(explanation).deploy(network, torch.zeros(2, *task.shape), rng=generator(0, "check"))
    explainer(torch.zeros(1, *task.shape), torch.zeros(1, dtype=torch.int64))


@functools.lru_cache(maxsize=32)
def _check_network(arch: str, task: Task) -> None:
    """Raise `BadParameter` if a network of this name cannot be built for a task, or does not take its inputs."""
    network = build(arch, task, rng=generator(0, "check")).eval()
    try:
        padded_forward(network, torch.zeros(1, *task.shape))
    except RuntimeError as error:
        message = f"{arch} does not take inputs of shape {task.shape}: {error}"
        raise BadParameter(message) from error


def audit(
    victim: NetworkVictim, outliers: Tensor, pool: Tensor, *, told: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, float], ...]]:
    """Return the ``leak`` flag and its measures: does this defense know the attack's queries?

    It does where it was ``told``: its outliers are the pool by declaration, or come from the same source; where rows
    overlap; or where a two-sample classifier on the victim's features cannot tell them apart (accuracy under 0.6).
    """
    overlap = len(set(row_digests(outliers)) & set(row_digests(pool)))
    measures = [("audit/overlap", float(overlap))]
    leaks = told or overlap > 0
    if len(pool) >= 20 and victim.module is not None:
        rng = generator(0, "audit")
        first = outliers[torch.randperm(len(outliers), generator=rng)[:AUDITED_ROWS]]
        second = pool[torch.randperm(len(pool), generator=rng)[:AUDITED_ROWS]]
        network = copy.deepcopy(victim.module)  # features are read by a hook, and other matches ask this victim too
        hits, total = two_sample_accuracy(penultimate(network, first), penultimate(network, second))
        measures.append(("audit/two_sample", hits / total))
        leaks = leaks or hits / total < INDISTINGUISHABLE
    return (("leak",) if leaks else ()), tuple(measures)


def _surrogate(
    matchup: Matchup, victim: NetworkVictim, site: Site, shadow: Callable[[Matchup], nn.Module] | None
) -> tuple[nn.Module, str]:
    """Return the defender's stand-in for the unknown clone and its key; all but ``random`` are trained and cached."""
    kind, task = matchup.knowledge.surrogate, victim.task
    parts = [victim_key(matchup.victim, matchup.victim_seed, site), kind, _surrogate_architecture(kind, victim)]
    if kind == "attacker":
        undefended = replace(matchup, defense=Spec(name="none"), knowledge=Knowledge())
        parts.append(repr(undefended))
    key = "surrogate-" + digest_of(parts)

    def make() -> bytes:
        if kind == "attacker":
            if shadow is None:
                message = "the attacker's clone that a surrogate needs is in no cache here, and cannot be made here"
                raise ArenaFault(message)
            return pack_clone(shadow(undefended))
        inputs, _ = load_splits(matchup.victim, site.data).training
        return pack_clone(make_surrogate(kind, victim, inputs, seed=matchup.victim_seed))

    return unpack_clone(Cache(folder=site.cache).once(key, make), task).to(site.device), key


def make_surrogate(kind: SurrogateKind, victim: NetworkVictim, inputs: Tensor, *, seed: int) -> Classifier:
    """Return a stand-in for the unknown clone: fresh, or trained on the victim's posteriors by the track A recipe."""
    rng = generator(seed, "surrogate", kind)
    network = build(_surrogate_architecture(kind, victim), victim.task, rng=rng).eval()
    if kind != "random":
        with one_thread():
            distil(network, inputs, victim(inputs), rng=generator(seed, "surrogate", "training"))
    return network


def _surrogate_architecture(kind: SurrogateKind, victim: NetworkVictim) -> str:
    own = architecture_of(victim.module, victim.task)
    return _other(own, len(victim.task.shape)) if kind == "other-architecture" else own


def _other(arch: str, dimensions: int) -> str:
    """Return an architecture of another family than ``arch``."""
    if dimensions == 1:
        return "linear" if arch.startswith("mlp") else "mlp"
    return "small-cnn" if arch.startswith("mlp") else "mlp"


def _training_key(matchup: Matchup, defense: Defense, artefacts: list[str], outliers: Tensor | None) -> str:
    """Return the key of a trained defense: what training reads, and nothing that acts only at reply time."""
    seen = [outliers] if outliers is not None else []
    surrogate = artefacts if "surrogate" in defense.needs else artefacts[:1]
    return "defense-" + digest_of([*_training_parts(defense), *surrogate, *seen])


def _training_parts(defense: Defense) -> list[str]:
    """Return the code of a defense and the fields that its training reads; those of its base after them."""
    values = {item.name: getattr(defense, item.name) for item in fields(defense)}  # type: ignore[arg-type]  # every player is a dataclass
    read = [(name, value) for name, value in values.items() if name in defense.trained_by]
    code = sources_digest([Path(inspect.getfile(type(defense)))])
    parts = [type(defense).__name__, code, repr(read)]
    for value in values.values():
        if isinstance(value, Defense):
            parts += _training_parts(value)
    return parts


def _train(matchup: Matchup, defense: Defense, ground: DefenderGround) -> bytes:
    try:
        with one_thread():
            return save_state(defense.train(ground, rng=generator(matchup.victim_seed, "defense", "training")))
    except (Exception, SystemExit) as error:
        message = f"the training of {matchup.defense.name} failed: {type(error).__name__}: {error}"
        raise DefenseFault(message) from error
