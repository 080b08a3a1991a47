"""Entries for tests, written to folders, and the sandbox in which they are played."""

from __future__ import annotations

from pathlib import Path

from arena.contracts import Spec

ATTACK = '''
"""Asks for some rows of the pool."""
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from arena.contracts import Attack
from arena.learning.architectures import build
{imports}

@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    needs: ClassVar = frozenset({{"pool"}})
    rows: int = 5

    def extract(self, oracle, context, *, rng):
        {body}
'''
HONEST = """chosen = context.pool[torch.randperm(len(context.pool), generator=rng)[: self.rows]]
        oracle.query(chosen)
        return build("mlp", oracle.task, rng=rng).eval()"""


def attack(folder: Path, *, body: str = HONEST, imports: str = "") -> Spec:
    """Write an attack; its spec, as somebody gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(f'name = "{folder.name}"\nrole = "attack"\nentry = "agent:Mine"\n')
    (folder / "agent.py").write_text(ATTACK.format(imports=imports, body=body))
    return Spec(name=str(folder))


DEFENSE = '''
"""Answers like the victim, mixed with a trained constant."""
from dataclasses import dataclass
import torch
from arena.contracts import Answer, Defense, Promise
{imports}

@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    share: float = 0.5

    @property
    def promise(self):
        return Promise(stateful=True)

    def train(self, context, *, rng):
        return {{"mean": torch.rand(context.victim.task.classes, generator=rng)}}

    def deploy(self, context, state, *, rng):
        constant, calls = state["mean"] / state["mean"].sum(), []

        def answer(queries):
            calls.append(len(queries.inputs))
            {body}
            mixed = (1 - self.share) * context.victim(queries.inputs) + self.share * constant
            noise = 1e-3 * torch.rand(mixed.shape, generator=rng)
            context.note("calls", len(calls))
            return Answer(posteriors=(mixed + noise) / (mixed + noise).sum(dim=1, keepdim=True),
                          refused=torch.zeros(len(mixed), dtype=torch.bool))

        return answer
'''


def defense(folder: Path, *, body: str = "pass", imports: str = "") -> Spec:
    """Write a defense that has a state, draws, and states a fact; ``body`` runs at each call."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(f'name = "{folder.name}"\nrole = "defense"\nentry = "agent:Mine"\n')
    (folder / "agent.py").write_text(DEFENSE.format(imports=imports, body=body))
    return Spec(name=str(folder))
