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
    version: int | None = None  # of a built-in method; None: whatever is the newest where it is built
    params: tuple[tuple[str, Parameter], ...] = ()  # sorted by key, so that equal players are equal specs
    digest: str = ""

    @classmethod
    def named(cls, text: str, params: tuple[tuple[str, Parameter], ...] = (), *, digest: str = "") -> Spec:
        """Return the spec of a name that may carry a version, such as ``knockoff`` or ``knockoff@1``."""
        name, at, version = text.rpartition("@")
        if at and name and "/" not in text and version.isdecimal():
            return cls(name=name, version=int(version), params=params, digest=digest)
        return cls(name=text, params=params, digest=digest)

    @property
    def full_name(self) -> str:
        """The name with its version, ``knockoff@1``; without one where there is none."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


UNDEFENDED = Spec(name="none", version=1)
"""The defense that releases what the victim answers."""
