"""What every attack must keep to: its budget, a clone of the right shape, determinism, isolation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from arena.conformance.elsewhere import Elsewhere
from arena.conformance.finding import PlayerFinding, found
from arena.conformance.generators import TOUCHED, advance_generators, global_state
from arena.conformance.situations import attack_matchups, described
from arena.contracts import Answer, Attack, Matchup, Oracle, Spec, StopReason
from arena.learning.oracle_view import OracleView
from arena.learning.training import one_thread, padded_forward
from arena.match.attacking import AttackReport, Clock, attack_stage
from arena.match.deployment import open_session
from arena.match.preparation import prepare
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.match.victims import load_splits, load_victim
from arena.oracle.local import LocalOracle
from arena.oracle.transcript import Transcript
from arena.registry import build_defense

SECONDS = 600.0
ASKED_OF_CLONES = 100  # rows of the pool, and as many of noise
SOLVED = 1e-2  # the greatest difference of a solved clone's posteriors from the victim's
FIRST_ROUND = 64  # times the known budget: an attack whose round costs more never plays
ADVICE = "draw from the generator that extract is given, and from nothing else"


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What is left of an attack's stage."""

    matchup: Matchup
    report: AttackReport
    transcript: Transcript

    @property
    def completed(self) -> bool:
        return self.report.verdict.outcome == "completed"

    @property
    def digests(self) -> tuple[str, str]:
        return self.transcript.digest, self.report.clone_digest


class AttackTrial:
    """One attack under check. What several checks look at is played once, when the first of them asks for it."""

    def __init__(self, build: Callable[[], Attack], spec: Spec, site: Site, *, seed: int, elsewhere: Elsewhere) -> None:
        self.build, self.site, self.elsewhere = build, site, elsewhere
        self.attack = build()
        self.known, *self.unforeseen = attack_matchups(self.attack, spec, site, seed=seed)

    @functools.cached_property
    def first(self) -> Played:
        return self.play(self.known)

    @functools.cached_property
    def again(self) -> tuple[Played, bool]:
        """The first match once more, and whether it left the global generators alone."""
        self.first  # noqa: B018  # what is prepared for the first match may draw
        advance_generators()  # a player that seeds them alike at each match would not be seen
        before = global_state()
        played = self.play(self.known)
        return played, before == global_state()

    def play(self, matchup: Matchup, *, device: str = "cpu", during: Callable[[], None] | None = None) -> Played:
        """Play a matchup; ``during`` is called in the middle of the first query."""
        return _play(self.attack, matchup, self.site, device=device, during=during)

    def pool(self, matchup: Matchup) -> Tensor:
        """Return the rows that the attack may query."""
        return load_pool(matchup.victim, matchup.pool, matchup.pool_source, self.site)


def _play(
    attack: Attack, matchup: Matchup, site: Site, *, device: str = "cpu", during: Callable[[], None] | None = None
) -> Played:
    defense = build_defense(matchup.defense)
    session = open_session(matchup, defense, prepare(matchup, defense, site), site, attempt=1, in_memory=True)
    clock = Clock(SECONDS)
    oracle: Oracle = LocalOracle(session, time_left=clock)
    if during is not None:
        oracle = _Interrupted(oracle=oracle, during=during)
    pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    report = attack_stage(attack, oracle, matchup=matchup, pool=pool, device=device, clock=clock)
    return Played(matchup=matchup, report=report, transcript=session.close())


def _digests(build: Callable[[], Attack], matchup: Matchup, site: Site) -> tuple[str, str]:
    """Play in whichever process this is called in, and return the digests of transcript and clone."""
    return _play(build(), matchup, site).digests


@dataclass(kw_only=True, eq=False)
class _Interrupted(OracleView):
    """An oracle in the middle of whose first query something else happens, as in a second match at once."""

    during: Callable[[], object]
    asked: bool = False

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        if not self.asked:
            self.asked = True
            self.during()
        return super().query(inputs, explain=explain, account=account)


def _clone(trial: AttackTrial) -> Iterator[PlayerFinding]:
    name = "returns a clone of logits (N, K)"
    if not trial.first.completed:
        yield found("clone", name, _ending(trial.first))
        return
    yield found("clone", name, "")
    with one_thread(), torch.no_grad():
        clone, rows = _clone_of(trial.first), _asked(trial, trial.known)
        whole, again = padded_forward(clone, rows), padded_forward(clone, rows)
        parts = torch.cat([padded_forward(clone, part) for part in rows.split(33)])
    problem = "" if torch.equal(whole, again) else "asked twice, it answers differently: draw nothing in forward"
    if not problem and not torch.allclose(whole, parts, atol=1e-3, rtol=1e-3):
        problem = "a row's logits depend on the rows beside it"
    yield found("clone", "returns a clone that answers alike", problem)


def _budget(trial: AttackTrial) -> Iterator[PlayerFinding]:
    yield found("budget", "spends its budget, or declares why not", _unspent(trial, trial.first))


def _unforeseen(trial: AttackTrial) -> Iterator[PlayerFinding]:
    """Play other victims, pools and budgets: what was true of the known one is to be true of them."""
    for number, matchup in enumerate(trial.unforeseen, start=1):
        played = trial.play(matchup)
        problem = _ending(played) if not played.completed else _unspent(trial, played)
        name = f"plays what it cannot foresee ({number})"
        yield found("unforeseen", name, problem and f"{described(matchup)}: {problem}")


def _repeats(trial: AttackTrial) -> Iterator[PlayerFinding]:
    again, _ = trial.again
    problem = _differs(trial.first.digests, again.digests, ADVICE)
    yield found("repeat", "same seed, same transcript and clone", problem)
    there = trial.elsewhere(_digests, trial.build, trial.known, trial.site)
    problem = _differs(trial.first.digests, there, f"{ADVICE}; not from hash(), pid or clock")
    yield found("repeat", "same seed, same transcript and clone in another process", problem)


def _globals(trial: AttackTrial) -> Iterator[PlayerFinding]:
    _, untouched = trial.again
    yield found("globals", "leaves global generators alone", "" if untouched else TOUCHED)


def _beside(trial: AttackTrial) -> Iterator[PlayerFinding]:
    """Play a whole other match of the same player inside one, and compare with the one that was alone."""
    other = replace(trial.known, seed=trial.known.seed + 1)

    def another() -> None:
        trial.play(other)

    beside = trial.play(trial.known, during=another).digests
    problem = _differs(trial.first.digests, beside, "keep what lives for one match local to extract")
    yield found("beside", "two matches at once do not disturb each other", problem)


def _prints(trial: AttackTrial) -> Iterator[PlayerFinding]:
    printed = trial.first.report.verdict.output[:200] if trial.first.completed else ""  # a crash is traced there
    yield found("prints", "prints nothing", printed, must=False)


def _gpu(trial: AttackTrial) -> Iterator[PlayerFinding]:
    """On a machine with a GPU: the same match there asks for the same number of rows."""
    if torch.cuda.is_available():
        played = trial.play(trial.known, device="cuda")
        same = played.transcript.counts.spent == trial.first.transcript.counts.spent
        problem = _ending(played) if not played.completed else "" if same else "it spends another number of queries"
        yield found("gpu", "plays on a GPU", problem, must=False)


ATTACK_CHECKS: Mapping[str, Callable[[AttackTrial], Iterator[PlayerFinding]]] = {
    "clone": _clone,
    "budget": _budget,
    "unforeseen": _unforeseen,
    "repeat": _repeats,
    "globals": _globals,
    "beside": _beside,
    "prints": _prints,
    "gpu": _gpu,
}


def _ending(played: Played) -> str:
    verdict = played.report.verdict
    return f"{verdict.outcome}: {verdict.reason}\n{verdict.output}".strip()


def _unspent(trial: AttackTrial, played: Played) -> str:
    """Return what is wrong with the budget that is left: it is spent, or a declared reason holds."""
    spent, budget = played.transcript.counts.spent, played.matchup.budget
    if spent == budget or any(_holds(reason, trial, played) for reason in trial.attack.stops_early):
        return ""
    declared = ", ".join(sorted(trial.attack.stops_early))
    because = f"; of the reasons in stops_early none holds: {declared}" if declared else ""
    return f"{spent} of {budget} spent{because}"


def _holds(reason: StopReason, trial: AttackTrial, played: Played) -> bool:
    """Whether a reason for stopping early is true of a match."""
    if reason == "deadline":
        return played.report.timed
    if reason == "pool exhausted":
        return played.transcript.counts.distinct_rows >= len(trial.pool(played.matchup))
    if reason == "solved exactly":
        return played.completed and _is_solved(trial, played)
    return played.transcript.counts.spent == 0 and _plays_for_more(trial, played.matchup)


def _is_solved(trial: AttackTrial, played: Played) -> bool:
    """Whether the clone's posteriors are the victim's, on rows of the pool and of noise."""
    matchup, rows = played.matchup, _asked(trial, played.matchup)
    with one_thread(), torch.no_grad():
        theirs = load_victim(matchup.victim, matchup.victim_seed, trial.site)(rows)
        ours = padded_forward(_clone_of(played), rows).softmax(dim=1)
    return float((ours - theirs).abs().max()) <= SOLVED


def _plays_for_more(trial: AttackTrial, matchup: Matchup) -> bool:
    """Whether a greater budget buys a round, and leaves less than what that cost."""
    for doubled in range(1, FIRST_ROUND.bit_length()):
        budget = matchup.budget << doubled
        spent = trial.play(replace(matchup, budget=budget)).transcript.counts.spent
        if spent > 0:
            return budget - spent < spent
    return False


def _asked(trial: AttackTrial, matchup: Matchup) -> Tensor:
    pool = load_splits(matchup.victim, trial.site.data).pool[:ASKED_OF_CLONES]
    return torch.cat([pool, torch.rand(pool.shape, generator=torch.Generator().manual_seed(0))])


def _clone_of(played: Played) -> nn.Module:
    assert played.report.clone is not None, "a completed match has a clone"
    return played.report.clone


def _differs(alone: tuple[str, str], other: tuple[str, str], advice: str) -> str:
    if alone == other:
        return ""
    return f"the {'transcript' if alone[0] != other[0] else 'clone'} differs: {advice}"
