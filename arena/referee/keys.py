"""When two results are the same result: equal matchup, equal code of players and referee, equal rules."""

from __future__ import annotations

import functools
import hashlib

import torch

from arena.contracts import Matchup, Spec, matchup_id
from arena.match.rules import RULES
from arena.provenance import code_digest_of
from arena.registry import Role, code_digest


def result_key(matchup: Matchup) -> str:
    """Return 16 hex digits: a result with this key need not be played again."""
    parts = [
        RULES,
        torch.__version__,
        code_digest_of("arena.match.scoring"),
        matchup_id(matchup),
        _code("attack", matchup.attack),
        _code("defense", matchup.defense),
    ]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


@functools.cache
def _code(role: Role, spec: Spec) -> str:
    return code_digest(role, spec)
