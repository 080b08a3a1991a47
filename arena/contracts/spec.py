"""Names and parameters that rebuild a player anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Parameter: TypeAlias = "str | int | float | bool | None | Spec | tuple[Parameter, ...]"

PoolKind = Literal["same", "near", "far", "universe", "none"]
Need = Literal["pool", "explanations", "accounts", "defense", "weights", "outliers", "surrogate"]
StopReason = Literal["solved exactly", "pool exhausted", "budget below one round", "deadline"]
OutlierKind = Literal["none", "far", "near", "pool"]
SurrogateKind = Literal["none", "random", "same-architecture", "other-architecture", "attacker"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Name and parameters that rebuild a player anywhere; a base is a nested Spec; digest is an entry folder's."""

    name: str
    params: tuple[tuple[str, Parameter], ...] = ()  # sorted by key, so that equal players are equal specs
    digest: str = ""


UNDEFENDED = Spec(name="none")
"""The defense that releases what the victim answers."""
