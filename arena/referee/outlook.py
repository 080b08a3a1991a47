"""What a runner says about itself while it plays: for whoever watches a run, no rule depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from arena.oracle.meter import Reading


@dataclass(frozen=True, kw_only=True)
class NodeLoad:
    """The attack slots and oracle hosts on one node."""

    slots: int = 0
    hosts: int = 0


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a runner is doing at a moment; a runner that plays one match after another in its process says little."""

    stages: Mapping[str, int] = field(default_factory=dict)  # matches, by stage
    waits: Mapping[str, int] = field(default_factory=dict)  # matches that were submitted, by what they wait for
    nodes: Mapping[str, NodeLoad] = field(default_factory=dict)  # by address
    reading: Reading = field(default_factory=Reading)  # of all oracles so far
