"""Specs: a player's name and parameters, from which it can be rebuilt anywhere."""

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
    """A player's name and parameters, from which it can be rebuilt anywhere; players inside it are nested specs."""

    name: str
    version: int | None = None  # of a built-in method; None: the newest version where it is built
    params: tuple[tuple[str, Parameter], ...] = ()  # sorted by key, so that equal players have equal specs
    digest: str = ""  # of an entry's folder; empty for a built-in

    @classmethod
    def named(cls, text: str, params: tuple[tuple[str, Parameter], ...] = (), *, digest: str = "") -> Spec:
        """Return a spec by its name, which may carry a version, such as ``knockoff`` or ``knockoff@1``.

        A path has none, such as ``agents/mine@1`` or ``image-folder:mine@1``.
        """
        name, at, version = text.rpartition("@")
        if at and name and not set(text) & set("/:") and version.isdecimal():
            return cls(name=name, version=int(version), params=params, digest=digest)
        return cls(name=text, params=params, digest=digest)

    @property
    def full_name(self) -> str:
        """The name with its version, if it has one: ``knockoff@1``."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


UNDEFENDED = Spec(name="none", version=1)
"""The spec of no defense: the victim's answers are released as they are."""
