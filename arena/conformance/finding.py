"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

UNDER_CHECK = "plays to the end"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found; ``detail`` says what was seen, ``must`` whether it decides."""

    name: str
    passed: bool
    check: str = ""  # what `arena check --only` calls the check
    must: bool = True
    detail: str = ""


def found(check: str, name: str, problem: str, *, must: bool = True) -> Finding:
    """Return the finding of a check that is passed if there is no ``problem`` to tell."""
    return Finding(name=name, passed=not problem, check=check, must=must, detail=problem)
