"""What every player must keep to, as checks that authors, our tests and seasons run alike.

*Must* decides whether a player may play: budget, shapes, simplex, determinism, isolation. *Advice* does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from arena.contracts import (
    Answer,
    ArenaError,
    Attack,
    Defense,
    Knowledge,
    Matchup,
    Oracle,
    QueryBatch,
    Responder,
    Spec,
    StopReason,
    Task,
)
from arena.learning.tensors import digest_of
from arena.learning.training import one_thread
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.deployment import deploy, open_session
from arena.match.preparation import prepare
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.metrics.utility import count_broken_promises
from arena.oracle.guard import check_answer
from arena.oracle.local import LocalOracle
from arena.oracle.transcript import Transcript

CHECK_VICTIM = Spec(name="digits", params=(("arch", "mlp"), ("steps", 300)))
BUDGET = 96  # or an attack's minimum, if that is more
SECONDS = 600.0
PROMISED_ROWS = 64
UNDEFENDED = Spec(name="none")
EXPLANATION = Spec(name="gradient-input")  # every network has gradients


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found; ``detail`` says what was seen, ``must`` whether it decides."""

    name: str
    passed: bool
    must: bool = True
    detail: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Played:
    report: AttackReport
    transcript: Transcript

    @property
    def digests(self) -> tuple[str, str]:
        return self.transcript.digest, self.report.clone_digest


def check_attack(attack: Attack, spec: Spec, site: Site, *, undefended: Defense) -> list[Finding]:
    """Play an attack several times on a small victim and return every finding.

    ``undefended`` is the defense ``none``: this layer builds no players.
    """
    task = load_splits(CHECK_VICTIM, site.data).task
    try:
        matchup = _terms(attack, spec, task)
        before = _global_state()
        first = _play(attack, undefended, matchup, site)
        untouched = before == _global_state()
    except ArenaError as error:
        return [Finding(name="plays to the end", passed=False, detail=f"{type(error).__name__}: {error}")]
    return [
        _ends_well(first),
        _spends(attack, first, matchup, pool_rows=len(_pool(matchup, site))),
        _same(
            "same seed, same transcript and clone",
            first,
            _play(attack, undefended, matchup, site),
            "draw from the generator that extract is given, and from nothing else",
        ),
        Finding(
            name="leaves global generators alone",
            passed=untouched,
            detail="" if untouched else "a global generator of random, numpy or torch was drawn from or seeded",
        ),
        _at_once(attack, undefended, matchup, site, first),
        Finding(
            name="prints nothing",
            passed=first.report.verdict.outcome != "completed" or not first.report.verdict.output,  # a crash is traced
            must=False,
            detail=first.report.verdict.output[:200],
        ),
        *_on_gpu(attack, undefended, matchup, site, first),
    ]


def check_defense(defense: Defense, spec: Spec, site: Site) -> list[Finding]:
    """Deploy a defense several times on a small victim and return every finding."""
    given = defense.needs | defense.optional_needs
    knowledge = Knowledge(
        outliers="far" if "outliers" in given else "none",
        surrogate="random" if "surrogate" in given else "none",
    )
    matchup = Matchup(
        victim=CHECK_VICTIM,
        victim_seed=0,
        defense=spec,
        knowledge=knowledge,
        attack=Spec(name="check"),
        pool="same",
        budget=BUDGET,
        seed=0,
    )
    before = _global_state()
    try:
        splits = load_splits(CHECK_VICTIM, site.data)
        defense.check(splits.task)
        prepared = prepare(matchup, defense, site)
        calls, task = list(_calls(splits.pool)), splits.task

        def fresh(seed: int = 0) -> Responder:
            return deploy(replace(matchup, seed=seed), defense, prepared, site)

        with one_thread():
            answers = [_checked(responder, call, task) for responder in [fresh()] for call in calls]
            again = [_checked(responder, call, task) for responder in [fresh()] for call in calls]
            one, other = fresh(), fresh(1)
            between = []
            for call in calls:
                between.append(_checked(one, call, task))
                _checked(other, call, task)
            clean = torch.cat([prepared.context.victim(call.inputs) for call in calls])
    except (Exception, SystemExit) as error:  # whatever an author's code raises is a finding
        return [Finding(name="answers on the simplex", passed=False, detail=f"{type(error).__name__}: {error}")]
    untouched = before == _global_state()
    broken = count_broken_promises(
        defense.promise,
        clean=clean,
        released=torch.cat([answer.posteriors for answer in answers]),
        refused=torch.cat([answer.refused for answer in answers]),
        decimals=None,
    )
    return [
        Finding(name="answers on the simplex", passed=True),
        Finding(
            name="keeps its promise",
            passed=all(hits == 0 for hits, _ in broken.values()),
            detail=", ".join(f"{name} on {hits} of {total} rows" for name, (hits, total) in broken.items() if hits),
        ),
        Finding(
            name="same seed, same answers",
            passed=_digest(answers) == _digest(again),
            detail=""
            if _digest(answers) == _digest(again)
            else "draw from the generator that deploy is given, and from nothing else",
        ),
        Finding(
            name="two matches at once do not disturb each other",
            passed=_digest(answers) == _digest(between),
            detail=""
            if _digest(answers) == _digest(between)
            else "keep what lives for one match in what deploy returns",
        ),
        Finding(name="leaves global generators alone", passed=untouched),
        *_forgets(defense, fresh, calls, answers),
    ]


def _terms(attack: Attack, spec: Spec, task: Task) -> Matchup:
    return Matchup(
        victim=CHECK_VICTIM,
        victim_seed=0,
        defense=UNDEFENDED,
        knowledge=Knowledge(),
        attack=spec,
        informed="defense" in attack.needs,
        pool="same",
        budget=max(BUDGET, attack.min_budget(task)),
        accounts=2 if "accounts" in attack.needs else 1,
        explanation=EXPLANATION if "explanations" in attack.needs else None,
        seed=0,
    )


def _play(
    attack: Attack,
    undefended: Defense,
    matchup: Matchup,
    site: Site,
    *,
    device: str = "cpu",
    during: Callable[[], None] | None = None,
) -> _Played:
    """Play the attack's stage; ``during`` is called in the middle of its first query."""
    prepared = prepare(matchup, undefended, site)
    session = open_session(matchup, undefended, prepared, site, attempt=1, in_memory=True)
    clock = Clock(SECONDS)
    oracle: Oracle = LocalOracle(session, time_left=clock)
    if during is not None:
        oracle = _Interrupted(oracle, during)
    report = attack_stage(attack, oracle, matchup=matchup, pool=_pool(matchup, site), device=device, clock=clock)
    return _Played(report=report, transcript=session.close())


def _pool(matchup: Matchup, site: Site) -> Tensor:
    return load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)


class _Interrupted:
    """An oracle in the middle of whose first query something else happens, as in a second match at once."""

    def __init__(self, oracle: Oracle, during: Callable[[], None]) -> None:
        self._oracle, self._during, self._asked = oracle, during, False

    @property
    def task(self) -> Task:
        return self._oracle.task

    @property
    def accounts(self) -> int:
        return self._oracle.accounts

    @property
    def explanation(self) -> str | None:
        return self._oracle.explanation

    @property
    def explanation_price(self) -> int:
        return self._oracle.explanation_price

    @property
    def remaining(self) -> int:
        return self._oracle.remaining

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        if not self._asked:
            self._asked = True
            self._during()
        return self._oracle.query(inputs, explain=explain, account=account)


def _ends_well(played: _Played) -> Finding:
    verdict = played.report.verdict
    detail = f"{verdict.outcome}: {verdict.reason}\n{verdict.output}".strip()
    fine = verdict.outcome == "completed"
    return Finding(name="returns a clone of logits (N, K)", passed=fine, detail="" if fine else detail)


def _spends(attack: Attack, played: _Played, matchup: Matchup, *, pool_rows: int) -> Finding:
    """Whether the budget is spent, or what stopped the attack is a reason that its class declares."""
    spent, rows = played.transcript.counts.spent, played.transcript.counts.rows
    holds: dict[StopReason, bool] = {
        "solved exactly": spent > 0,  # whether it is solved, the score says
        "pool exhausted": rows >= pool_rows,
        "budget below one round": spent == 0,
        "deadline": played.report.timed,
    }
    declared = ", ".join(sorted(attack.stops_early))
    return Finding(
        name="spends its budget, or declares why not",
        passed=spent == matchup.budget or any(holds[reason] for reason in attack.stops_early),
        detail=f"{spent} of {matchup.budget} spent" + (f"; stops_early: {declared}" if declared else ""),
    )


def _same(name: str, first: _Played, second: _Played, advice: str) -> Finding:
    same = first.digests == second.digests
    differs = "transcript" if first.digests[0] != second.digests[0] else "clone"
    return Finding(name=name, passed=same, detail="" if same else f"the {differs} differs: {advice}")


def _at_once(attack: Attack, undefended: Defense, matchup: Matchup, site: Site, alone: _Played) -> Finding:
    """Play a whole other match of the same player inside one, and compare with the one that was alone."""
    other = replace(matchup, seed=matchup.seed + 1)
    beside = _play(attack, undefended, matchup, site, during=lambda: _discard(_play(attack, undefended, other, site)))
    return _same(
        "two matches at once do not disturb each other", alone, beside, "keep what lives for one match local to extract"
    )


def _discard(played: _Played) -> None:
    del played


def _on_gpu(attack: Attack, undefended: Defense, matchup: Matchup, site: Site, on_cpu: _Played) -> Iterator[Finding]:
    """On a machine with a GPU: the same match there asks for the same number of rows."""
    if torch.cuda.is_available():
        played = _play(attack, undefended, matchup, site, device="cuda")
        fine = (
            played.report.verdict.outcome == "completed"
            and played.transcript.counts.spent == on_cpu.transcript.counts.spent
        )
        detail = "" if fine else f"{played.report.verdict.outcome}: {played.report.verdict.reason}"
        yield Finding(name="plays on a GPU", passed=fine, must=False, detail=detail)


def _calls(rows: Tensor) -> Iterator[QueryBatch]:
    for start, size in ((0, 1), (1, 3), (4, 28), (32, PROMISED_ROWS - 32)):
        yield QueryBatch(inputs=rows[start : start + size])


def _checked(responder: Responder, call: QueryBatch, task: Task) -> Answer:
    answer = responder(call)
    check_answer(answer, rows=len(call.inputs), classes=task.classes)
    return answer


def _forgets(
    defense: Defense, fresh: Callable[[], Responder], calls: list[QueryBatch], answers: list[Answer]
) -> Iterator[Finding]:
    """One that promises no memory and no fresh noise answers a call alike, whatever was asked before it."""
    if defense.promise.stateful or defense.promise.noise == "fresh":
        return
    with one_thread():
        last = fresh()(calls[-1])
    same = torch.equal(last.posteriors, answers[-1].posteriors)
    detail = "" if same else "its answer depends on earlier calls: declare stateful, or noise = fresh, in its promise"
    yield Finding(name="answers alike whatever came before, as promised", passed=same, detail=detail)


def _digest(answers: list[Answer]) -> str:
    return digest_of(part for answer in answers for part in (answer.posteriors, answer.refused))


def _global_state() -> str:
    numpy_state = np.random.get_state(legacy=False)
    words = (repr(random.getstate()), repr(numpy_state))
    return digest_of([torch.get_rng_state(), *words])
