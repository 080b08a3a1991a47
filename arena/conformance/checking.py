"""Check a player: build it, run its checks, and make findings of whatever its code raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from arena.conformance.attack import ATTACK_CHECKS, AttackTrial
from arena.conformance.defense import DEFENSE_CHECKS, DefenseTrial
from arena.conformance.elsewhere import Elsewhere
from arena.conformance.finding import PlayerFinding, found
from arena.contracts import Attack, BadParameter, Defense, Spec, UnknownName, nearest
from arena.match.site import Site
from arena.registry import Role, build_attack, build_defense

Trial = TypeVar("Trial")

PARAMETERS = "parameters"


def check_player(
    role: Role, spec: Spec, site: Site, *, seed: int, elsewhere: Elsewhere, only: Sequence[str] = ()
) -> list[PlayerFinding]:
    """Run a player's checks and return every finding.

    ``seed`` draws the matchups that the player cannot foresee, ``elsewhere`` is the second process, and ``only`` names
    the checks to run, all by default. Raises `UnknownName` for a check that does not exist.
    """
    checks = ATTACK_CHECKS if role == "attack" else DEFENSE_CHECKS
    unknown = [check for check in only if check not in (*checks, PARAMETERS)]
    if unknown:
        known = [*checks, PARAMETERS]
        message = f"no check for the role {role} is called {unknown[0]!r}{nearest(unknown[0], known)}; there are {', '.join(known)}"
        raise UnknownName(message)
    findings = []
    if not only or PARAMETERS in only:
        findings.append(_refuses_unknown_parameters(role, spec))
    if role == "attack":
        attack = partial(build_attack, spec)
        return [*check_attack(attack, spec, site, seed=seed, elsewhere=elsewhere, only=only), *findings]
    defense = partial(build_defense, spec)
    return [*check_defense(defense, spec, site, seed=seed, elsewhere=elsewhere, only=only), *findings]


def check_attack(
    build: Callable[[], Attack], spec: Spec, site: Site, *, seed: int, elsewhere: Elsewhere, only: Sequence[str] = ()
) -> list[PlayerFinding]:
    """Run the checks of the attack that ``build``, which can be pickled, returns in any process."""
    trial = partial(AttackTrial, build, spec, site, seed=seed, elsewhere=elsewhere)
    return _findings(trial, ATTACK_CHECKS, only)


def check_defense(
    build: Callable[[], Defense], spec: Spec, site: Site, *, seed: int, elsewhere: Elsewhere, only: Sequence[str] = ()
) -> list[PlayerFinding]:
    """Run the checks of the defense that ``build``, which can be pickled, returns in any process."""
    trial = partial(DefenseTrial, build, spec, site, seed=seed, elsewhere=elsewhere)
    return _findings(trial, DEFENSE_CHECKS, only)


def _findings(
    start: Callable[[], Trial],
    checks: Mapping[str, Callable[[Trial], Iterator[PlayerFinding]]],
    only: Sequence[str],
) -> list[PlayerFinding]:
    """Run checks until one ends with an error: then the player can do nothing that the others would look at."""
    findings: list[PlayerFinding] = []
    check = next(iter(only or checks))
    try:
        trial = start()
        for check in checks:
            if not only or check in only:
                findings += checks[check](trial)
    except (Exception, SystemExit) as error:  # whatever an author's code raises is a finding
        findings.append(found(check, "plays to the end", f"{type(error).__name__}: {error}"))
    return findings


def _refuses_unknown_parameters(role: Role, spec: Spec) -> PlayerFinding:
    wrong = Spec(name=spec.name, params=(*spec.params, ("no_such_parameter", 1)), digest=spec.digest)
    problem = "make it a frozen dataclass"
    try:
        (build_attack if role == "attack" else build_defense)(wrong)
    except BadParameter:
        problem = ""
    return found(PARAMETERS, "refuses parameters that it does not have", problem)
