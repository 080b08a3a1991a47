"""The smallest matches that are real ones, and entries that misbehave in them."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from arena.contracts import UNDEFENDED, Knowledge, MatchResult, Matchup, Recipe, Runner, Spec
from arena.match.site import Site
from arena.referee.journal import Journal
from arena.referee.keys import result_key
from arena.referee.referee import Referee
from arena.registry import complete
from arena.tracking.none import NoTracker

VICTIM = Spec(name="digits", params=(("arch", "mlp"), ("steps", 100)))
KNOCKOFF = Spec(name="knockoff", params=(("steps", 20),))
BUDGET = 30


def matchup(*, attack: Spec = KNOCKOFF, defense: Spec = UNDEFENDED, seed: int = 0) -> Matchup:
    return Matchup(
        victim=VICTIM,
        victim_seed=0,
        defense=defense,
        knowledge=Knowledge(),
        attack=attack,
        pool="same",
        budget=BUDGET,
        seed=seed,
        recipe=Recipe(steps=20),
    )


def attack_entry(folder: Path, then: str, *, asks: int = 10) -> Spec:
    """An attack that asks ``asks`` rows, does ``then``, and goes on as knockoff does."""
    program = f"""
        import ctypes, os, signal, subprocess, sys, time
        from pathlib import Path
        from arena.attacks.knockoff import KnockoffNets
        from arena.contracts import Attack

        class Mine(Attack):
            def extract(self, oracle, context, *, rng):
                oracle.query(context.pool[:{asks}])
                {then}
                return KnockoffNets(steps=20).extract(oracle, context, rng=rng)
    """
    return _entry("attack", folder, program)


def waits_once(folder: Path) -> str:
    """What has an attack wait for the FIFO ``gate`` of a folder, in its first play: a match plays its control as well."""
    gate, waited = folder / "gate", folder / "waited"
    return f"if not Path({str(waited)!r}).exists(): Path({str(waited)!r}).touch(); Path({str(gate)!r}).read_text()"


def clone_entry(folder: Path, forward: str) -> Spec:
    """An attack that asks 10 rows and returns a clone which is sound until the referee scores it."""
    program = f"""
        import os, time
        import torch
        from arena.contracts import Attack

        class Clone(torch.nn.Module):
            def __init__(self, task):
                super().__init__()
                self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(task.shape[-1] * task.shape[-2], task.classes))
                self.calls = 0

            def forward(self, inputs):
                self.calls += 1
                if self.calls > 1:
                    {forward}
                return self.network(inputs)

        class Mine(Attack):
            def extract(self, oracle, context, *, rng):
                oracle.query(context.pool[:10])
                torch.manual_seed(0)
                return Clone(oracle.task).eval()
    """
    return _entry("attack", folder, program)


def defense_entry(folder: Path, *, training: str = "pass", deploying: str = "pass", answering: str = "pass") -> Spec:
    """The undefended victim, with something done in training, in deploying and in answering each call."""
    program = f"""
        import os, time
        from pathlib import Path
        from arena.contracts import Defense
        from arena.defenses.none import NoDefense

        class Mine(Defense):
            def train(self, context, *, rng):
                {training}
                return {{}}

            def deploy(self, context, state, *, rng):
                {deploying}
                victim = NoDefense().deploy(context, state, rng=rng)
                def respond(queries):
                    {answering}
                    return victim(queries)
                return respond
    """
    return _entry("defense", folder, program)


def _entry(role: str, folder: Path, program: str) -> Spec:
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(f'name = "{folder.name}"\nrole = "{role}"\nentry = "mine:Mine"\n')
    # Every player is a dataclass: its fields are its hyper-parameters, and these have none.
    decorated = textwrap.dedent(program).replace("class Mine", "@dataclass(frozen=True, kw_only=True)\nclass Mine")
    (folder / "mine.py").write_text(f"from dataclasses import dataclass\n{decorated}")
    return complete("attack" if role == "attack" else "defense", Spec(name=str(folder)))


def played(runner: Runner, matchups: Sequence[Matchup], folder: Path) -> list[MatchResult]:
    """The results of a referee's run, in the order of the matchups."""
    folder.mkdir(parents=True, exist_ok=True)
    referee = Referee(
        runner=runner,
        tracker=NoTracker(),
        journal=Journal(folder),
        key_of=functools.partial(result_key, site=Site(work=folder)),
    )
    return list(referee.run(matchups).results)


def digests(results: Iterable[MatchResult]) -> list[tuple[str, str]]:
    return [(result.transcript_digest, result.clone_digest) for result in results]


def table(results: Iterable[MatchResult]) -> list[object]:
    """What is the same in every run of the same matchups: all but attempts, times and where it was played."""
    return [
        (result.matchup, result.verdict, result.spent, result.calls, result.counts, result.flags, *digests([result]))
        for result in results
    ]
