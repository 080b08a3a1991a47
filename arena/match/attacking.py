"""The attack's stage of a match: runs the attack, catches what goes wrong, and decides whose fault it was."""

from __future__ import annotations

import contextlib
import io
import time
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from arena.contracts import (
    Answer,
    ArenaError,
    ArenaFault,
    Attack,
    AttackContext,
    DeadlinePassed,
    Matchup,
    MeasureName,
    Oracle,
    Verdict,
)
from arena.learning.oracle_view import OracleView
from arena.learning.randomness import generator
from arena.learning.training import counted_steps, one_thread
from arena.match.clones import checked_clone, clone_digest
from arena.match.facts import Facts
from arena.oracle.interrupts import is_operators
from arena.registry import build_defense

OUTPUT_KEPT = 64 * 1024  # characters of a player's own output that a verdict keeps


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackReport:
    """The result of the attack's stage: a clone, or the reason why there is none."""

    verdict: Verdict
    clone: nn.Module | None = None
    clone_digest: str = ""
    remaining: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    steps: int = 0  # optimiser steps in the training loops of this package, for all of the attack's networks together
    timed: bool = False  # the time ran out, so the outcome depends on the machine's speed
    facts: Mapping[MeasureName, float] = field(default_factory=dict)  # what the attack stated about its play


class Clock:
    """Counts down from ``seconds`` on the monotonic clock; ``expired`` says whether any reading was 0 or less."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.expired = False

    def __call__(self) -> float:
        left = self._end - time.monotonic()
        self.expired = self.expired or left <= 0
        return left


@dataclass(kw_only=True, eq=False)
class WitnessedOracle(OracleView):
    """An oracle that records failures of the infrastructure: blame rests on this, not on what the attack raises."""

    fault: ArenaFault | None = None
    """The infrastructure's failure at the last query; None if that query succeeded."""

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        """See `arena.contracts.Oracle`."""
        try:
            answer = super().query(inputs, explain=explain, account=account)
        except ArenaFault as fault:
            self.fault = fault
            raise
        self.fault = None
        return answer


def attack_stage(
    attack: Attack, oracle: Oracle, *, matchup: Matchup, pool: Tensor, device: str, clock: Clock
) -> AttackReport:
    """Play ``attack`` against ``oracle`` until it returns or ``clock`` runs out, and return its report.

    The attack draws from a generator of its own and, in an informed matchup, is given the defense's spec. Whatever it
    raises is the attack's fault, unless its last query failed because of the infrastructure. A fault of the defense is
    recorded by the oracle's session and read when that closes. What the attack prints is kept with its verdict.
    """
    facts = Facts("attack")
    context = AttackContext(
        pool=pool,
        device=torch.device(device),
        time_left=clock,
        defense=matchup.defense if matchup.informed else None,
        simulated=build_defense(matchup.defense) if matchup.informed else None,
        note=facts.note,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    witnessed = WitnessedOracle(oracle=oracle)
    clone: nn.Module | None = None
    with _captured() as output, one_thread(), counted_steps() as steps, _counted_elsewhere() as elsewhere:
        try:
            returned = attack.extract(witnessed, context, rng=generator(matchup.seed, "attack"))
            clone = checked_clone(returned, witnessed.task)
            verdict = Verdict(outcome="completed")
        except BaseException as error:  # a player that raises SystemExit or KeyboardInterrupt ends only its own match
            if is_operators(error):
                raise
            if not isinstance(error, ArenaError):
                output.write(traceback.format_exc())
            verdict = _verdict_on(error, witnessed, clock)
    return AttackReport(
        verdict=_with_output(verdict, output.getvalue()),
        clone=clone,
        clone_digest=clone_digest(clone) if clone is not None else "",
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu + sum(elsewhere),
        steps=steps.taken,
        timed=clock.expired,
        facts=facts.measures,
    )


def _verdict_on(error: BaseException, oracle: WitnessedOracle, clock: Clock) -> Verdict:
    """Return the verdict on an attack that ended with an error."""
    if oracle.fault is not None:
        reason = f"{type(oracle.fault).__name__}: {oracle.fault}"
        return Verdict(outcome="infrastructure", fault="arena", stage="play", reason=reason)
    if isinstance(error, DeadlinePassed) and clock.expired:
        return Verdict(outcome="timed out", fault="attack", stage="play", reason=str(error))
    return Verdict(outcome="crashed", fault="attack", stage="play", reason=f"{type(error).__name__}: {error}")


def count_cpu_seconds(seconds: float) -> None:
    """Count CPU time that the attack that plays now has used in another process, such as a sandbox."""
    for counts in _elsewhere.get():
        counts.append(seconds)


@contextlib.contextmanager
def _counted_elsewhere() -> Iterator[list[float]]:
    counts: list[float] = []
    before = _elsewhere.set((*_elsewhere.get(), counts))
    try:
        yield counts
    finally:
        _elsewhere.reset(before)


_elsewhere: ContextVar[tuple[list[float], ...]] = ContextVar("elsewhere", default=())


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Capture what a player prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output


def _with_output(verdict: Verdict, text: str) -> Verdict:
    kept = text if len(text) <= OUTPUT_KEPT else text[:OUTPUT_KEPT] + "\n[cut here]"
    return replace(verdict, output=kept)
