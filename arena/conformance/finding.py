"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found; ``detail`` says what was seen, ``must`` whether it decides."""

    name: str
    passed: bool
    must: bool = True
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PlayerFinding(Finding):
    """What was found about a player; ``check`` is what `arena check --only` calls the check."""

    check: str


def found(check: str, name: str, problem: str, *, must: bool = True) -> PlayerFinding:
    """Return the finding of a check that is passed if there is no ``problem`` to tell."""
    return PlayerFinding(name=name, passed=not problem, check=check, must=must, detail=problem)
