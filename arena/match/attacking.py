"""The attack's stage of a match: play it, catch what it does wrong, and say whose fault it was."""

from __future__ import annotations

import contextlib
import io
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arena.contracts import (
    ArenaFault,
    Attack,
    AttackContext,
    AttackFault,
    BudgetExhausted,
    DeadlinePassed,
    DefenseFault,
    Matchup,
    Oracle,
    QueryRefused,
    Verdict,
)
from arena.learning.randomness import generator
from arena.learning.training import one_thread
from arena.match.clones import checked_clone, clone_digest
from arena.registry import build_defense

OUTPUT_KEPT = 64 * 1024  # characters of a player's own output that a verdict keeps


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackReport:
    """What the attack's stage left: a clone or the reason why there is none."""

    verdict: Verdict
    clone: nn.Module | None = None
    clone_digest: str = ""
    remaining: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    timed: bool = False  # the clock ran out: what came of it depends on the machine's speed


class Clock:
    """Counts down from ``seconds`` on the monotonic clock and remembers whether it was ever seen to be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.expired = False

    def __call__(self) -> float:
        left = self._end - time.monotonic()
        self.expired = self.expired or left <= 0
        return left


def attack_stage(
    attack: Attack, oracle: Oracle, *, matchup: Matchup, pool: Tensor, device: str, clock: Clock
) -> AttackReport:
    """Play ``attack`` against ``oracle`` until it returns or ``clock`` is over, and return its report.

    The attack draws from its own generator and, where it is informed, is told the defense's spec. What it prints is
    kept for its verdict.
    """
    context = AttackContext(
        pool=pool,
        device=torch.device(device),
        time_left=clock,
        defense=matchup.defense if matchup.informed else None,
        simulated=build_defense(matchup.defense) if matchup.informed else None,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    clone: nn.Module | None = None
    with _captured() as output, one_thread():
        try:
            returned = attack.extract(oracle, context, rng=generator(matchup.seed, "attack"))
            clone = checked_clone(returned, oracle.task)
            verdict = Verdict(outcome="completed")
        except DeadlinePassed as error:
            verdict = Verdict(outcome="timed out", fault="attack", stage="play", reason=str(error))
        except DefenseFault as error:
            verdict = Verdict(outcome="crashed", fault="defense", stage="play", reason=str(error))
        except ArenaFault as error:
            verdict = Verdict(
                outcome="infrastructure", fault="arena", stage="play", reason=f"{type(error).__name__}: {error}"
            )
        except (AttackFault, BudgetExhausted, QueryRefused) as error:
            verdict = Verdict(
                outcome="crashed", fault="attack", stage="play", reason=f"{type(error).__name__}: {error}"
            )
        except (Exception, SystemExit) as error:  # a player that ends the process ends its match, not ours
            output.write(traceback.format_exc())
            verdict = Verdict(
                outcome="crashed", fault="attack", stage="play", reason=f"{type(error).__name__}: {error}"
            )
    return AttackReport(
        verdict=_with_output(verdict, output.getvalue()),
        clone=clone,
        clone_digest=clone_digest(clone) if clone is not None else "",
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        timed=clock.expired,
    )


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Collect what a player prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output


def _with_output(verdict: Verdict, text: str) -> Verdict:
    kept = text if len(text) <= OUTPUT_KEPT else text[:OUTPUT_KEPT] + "\n[cut here]"
    return Verdict(
        outcome=verdict.outcome, fault=verdict.fault, stage=verdict.stage, reason=verdict.reason, output=kept
    )
