"""Decides whether a matchup can be played at all, before anything starts."""

from __future__ import annotations

import functools

import torch

from arena.contracts import Attack, BadParameter, Defense, Matchup, NeedUnmet, Spec, Task
from arena.contracts.flags import (
    COST_NOT_RANKED,
    DETECTOR_CANNOT_FIRE,
    HONEST_CANNOT_TRIGGER,
    HONEST_ROWS_SHORT,
    UNSAFE,
)
from arena.learning.architectures import build, resolve
from arena.learning.normalisation import check_channels
from arena.learning.randomness import generator
from arena.learning.training import padded_forward
from arena.match.rows import honest_traffic, load_pool, outlier_source_of
from arena.match.site import Site
from arena.match.victims import load_splits, load_victim, victim_architecture, victim_terms
from arena.registry import build_explanation, build_threat, current_loader, entries_in
from arena.registry.entries import entry_folder


def admit(matchup: Matchup, attack: Attack, defense: Defense, site: Site) -> tuple[str, ...]:
    """Return the flags of a matchup that are known before it starts.

    Raises `NeedUnmet` if its terms do not meet a player's need; `BadParameter` if its budget is below 1 or below the
    attack's minimum, its networks do not fit the data, or its pool does not exist for the victim; and `DataMissing` if
    its data are not available.
    """
    task = load_splits(matchup.victim, site.data).task
    name = matchup.attack.name
    unmet = {
        "pool": matchup.pool == "none" and 'a pool: set pools = ["same"], or near, far, universe',
        "explanations": matchup.explanation is None and "explanations: set explanation to a method of `arena list`",
        "accounts": matchup.accounts < 2 and "several accounts: set accounts to 2 or more",
        "defense": not matchup.informed and "to know the defense: set informed = true",
    }
    for need in sorted(attack.needs):
        if unmet.get(need):
            message = f"attack {name} needs {unmet[need]}"
            raise NeedUnmet(message)
    for need in sorted(defense.needs & {"outliers", "surrogate"}):
        if getattr(matchup.knowledge, need) == "none":
            message = f"defense {matchup.defense.name} needs {need}: declare {need} with it, as in {_EXAMPLES[need]}"
            raise NeedUnmet(message)
    defense.check(task)
    if matchup.budget < 1:
        message = f"the query budget is {matchup.budget} rows; it must be 1 or more"
        raise BadParameter(message)
    least = attack.min_budget(task)
    if matchup.budget < least:
        message = f"attack {name} needs a query budget of {least} rows or more for this victim, not {matchup.budget}"
        raise BadParameter(message)
    for name, threat in ((spec.name, build_threat(spec)) for spec in matchup.threats):
        if matchup.threat_budget < threat.min_budget(task):
            message = (
                f"threat {name} needs threat_budget = {threat.min_budget(task)} or more, not {matchup.threat_budget}"
            )
            raise BadParameter(message)
    terms = victim_terms(matchup.victim)
    check_channels(f"victim {matchup.victim.name}", terms.mean, task)
    _check_network(victim_architecture(terms, task), task)
    if terms.weights:
        load_victim(matchup.victim, matchup.victim_seed, site)  # a file is read and its answers are checked at once
    _check_network(resolve(matchup.recipe.arch, task), task)
    if matchup.explanation is not None:
        _check_explanation(matchup.explanation, victim_architecture(terms, task), task)
    load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    outlier_source_of(matchup, site)
    entries = [*entries_in(matchup.attack), *entries_in(matchup.defense)]
    flags = {
        UNSAFE: bool(entries) and current_loader() is None,
        HONEST_ROWS_SHORT: honest_traffic(matchup, site).volumes.fall_short,
        DETECTOR_CANNOT_FIRE: defense.detection_delay > matchup.budget,
        HONEST_CANNOT_TRIGGER: defense.detection_delay > len(load_splits(matchup.victim, site.data).honest[1]),
    }
    sees_accounts = defense.promise.stateful or entry_folder(matchup.defense.name) is not None
    flags[COST_NOT_RANKED] = flags[HONEST_ROWS_SHORT] and sees_accounts
    return tuple(flag for flag, holds in flags.items() if holds)


_EXAMPLES = {"outliers": 'outliers = "far"', "surrogate": 'surrogate = "random"'}


@functools.lru_cache(maxsize=32)
def _check_explanation(explanation: Spec, arch: str, task: Task) -> None:
    """Raise `BadParameter` if this explanation does not apply to networks of this architecture."""
    network = build(arch, task, rng=generator(0, "check")).eval()
    explainer = build_explanation(explanation).deploy(network, torch.zeros(2, *task.shape), rng=generator(0, "check"))
    explainer(torch.zeros(1, *task.shape), torch.zeros(1, dtype=torch.int64))


@functools.lru_cache(maxsize=32)
def _check_network(arch: str, task: Task) -> None:
    """Raise `BadParameter` if this architecture cannot be built for a task, or does not accept its inputs."""
    network = build(arch, task, rng=generator(0, "check")).eval()
    try:
        padded_forward(network, torch.zeros(1, *task.shape))
    except RuntimeError as error:
        message = f"{arch} does not accept inputs of shape {task.shape}: {error}; choose another architecture"
        raise BadParameter(message) from error
