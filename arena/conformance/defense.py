"""What every defense must keep to: answers on the simplex, its promises, determinism, isolation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from arena.conformance.elsewhere import Elsewhere
from arena.conformance.finding import PlayerFinding, found
from arena.conformance.generators import TOUCHED, advance_generators, global_state
from arena.conformance.situations import defense_matchups, described
from arena.contracts import Answer, Defense, Matchup, QueryBatch, Responder, Spec
from arena.data.textures import noise, textures
from arena.learning.tensors import digest_of, load_state, state_digest
from arena.learning.training import one_thread
from arena.match.deployment import deploy
from arena.match.preparation import prepare, train_defense
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.metrics.utility import count_broken_promises
from arena.oracle.guard import check_answer
from arena.oracle.terms import MAX_ROWS

SIZES = (1, 3, 28, 64, 1, MAX_ROWS)  # rows of a call
ODD_ROWS = 64  # of noise and of textures: rows unlike the victim's
ACCOUNTS = (0, 1, 7)
ALIKE = 1e-4  # the greatest difference between answers to one row: a network's own depends on the size of the call
ADVICE = "draw from the generator that deploy or train is given, and from nothing else"

NOT_FROM = "not from hash(), the process number, the clock or os.urandom"


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """Calls, and what a freshly deployed defense answered to them."""

    matchup: Matchup
    calls: Sequence[QueryBatch]
    answers: Sequence[Answer]

    @property
    def digest(self) -> str:
        return digest_of(part for answer in self.answers for part in (answer.posteriors, answer.refused))


class DefenseTrial:
    """One defense under check. What several checks look at is asked once, when the first of them wants it."""

    def __init__(
        self, build: Callable[[], Defense], spec: Spec, site: Site, *, seed: int, elsewhere: Elsewhere
    ) -> None:
        self.build, self.site, self.elsewhere = build, site, elsewhere
        self.defense = build()
        self.known, *self.unforeseen = defense_matchups(self.defense, spec, seed=seed)
        self.defense.check(load_splits(self.known.victim, site.data).task)

    @functools.cached_property
    def first(self) -> Heard:
        return _heard(self.defense, self.known, self.site)

    @functools.cached_property
    def again(self) -> tuple[Heard, str, bool]:
        """Answers and training once more, and whether both left the global generators alone."""
        self.first  # noqa: B018  # what is prepared for the first match may draw
        advance_generators()  # a player that seeds them alike at each match would not be seen
        before = global_state()
        heard = _heard(self.defense, self.known, self.site)
        trained = _trained_anew(self.defense, self.known, self.site)
        return heard, trained, before == global_state()

    @property
    def forgetful(self) -> bool:
        """Whether equal rows are promised equal answers."""
        promise = self.defense.promise
        return not promise.stateful and promise.noise != "fresh"

    def deployed(self, matchup: Matchup | None = None) -> Responder:
        """Return the defense freshly deployed for a matchup, the known one by default."""
        matchup = matchup or self.known
        return deploy(matchup, self.defense, prepare(matchup, self.defense, self.site), self.site)


def _heard(defense: Defense, matchup: Matchup, site: Site) -> Heard:
    with one_thread():
        responder = deploy(matchup, defense, prepare(matchup, defense, site), site)
        calls, classes = list(_calls(matchup, site)), load_splits(matchup.victim, site.data).task.classes
        return Heard(matchup=matchup, calls=calls, answers=[_answered(responder, call, classes) for call in calls])


def _digests(build: Callable[[], Defense], matchup: Matchup, site: Site) -> tuple[str, str]:
    """Answer and train in whichever process this is called in; return digests of answers and trained state."""
    defense = build()
    return _heard(defense, matchup, site).digest, _trained_anew(defense, matchup, site)


def _trained_anew(defense: Defense, matchup: Matchup, site: Site) -> str:
    context = prepare(matchup, defense, site).context
    return state_digest(load_state(train_defense(matchup, defense, context, site)))


def _calls(matchup: Matchup, site: Site) -> Iterator[QueryBatch]:
    """Yield calls of several sizes and accounts: of the pool, noise and textures, and explained where that is offered."""
    splits = load_splits(matchup.victim, site.data)
    pool = load_pool(matchup.victim, matchup.pool, matchup.pool_source, site)
    shape = splits.task.shape
    odd = [noise(ODD_ROWS, shape, rng=_rng()), textures(ODD_ROWS, shape, part="pool", rng=_rng())]
    parts = [pool[:size] for size in SIZES]
    for number, rows in enumerate([*parts, *odd]):
        yield QueryBatch(inputs=rows, account=ACCOUNTS[number % len(ACCOUNTS)])
    if matchup.explanation is not None:
        yield QueryBatch(inputs=pool[:8], explain=True)


def _answered(responder: Responder, call: QueryBatch, classes: int) -> Answer:
    answer = responder(call)
    check_answer(answer, rows=len(call.inputs), classes=classes)
    return answer


def _answers(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    trial.first  # noqa: B018  # raises what an answer off the simplex raises
    yield found("answers", "answers on the simplex", "")


def _promise(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    yield found("promise", "keeps its promise", _broken(trial, trial.first))


def _unforeseen(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    """Defend other victims against other pools, with explanations: what was true of the known one is to be true."""
    for number, matchup in enumerate(trial.unforeseen, start=1):
        try:
            problem = _broken(trial, _heard(trial.defense, matchup, trial.site))
        except (Exception, SystemExit) as error:  # whatever an author's code raises is a finding
            problem = f"{type(error).__name__}: {error}"
        name = f"defends what it cannot foresee ({number})"
        yield found("unforeseen", name, problem and f"{described(matchup)}: {problem}")


def _repeats(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    trained = state_digest(prepare(trial.known, trial.defense, trial.site).state)
    again, trained_again, _ = trial.again
    there = trial.elsewhere(_digests, trial.build, trial.known, trial.site)
    runs = {"": (again.digest, trained_again, ADVICE), " in another process": (*there, f"{ADVICE}; {NOT_FROM}")}
    for where, (answered, retrained, advice) in runs.items():
        problem = "" if answered == trial.first.digest else f"they differ: {advice}"
        yield found("repeat", f"same seed, same answers{where}", problem)
        problem = "" if retrained == trained else f"it differs: {advice}"
        yield found("repeat", f"same seed, same training{where}", problem)


def _alike(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    """One that promises equal rows equal answers gives them, whatever else is asked with, before or by whom."""
    if not trial.forgetful:
        return
    splits = load_splits(trial.known.victim, trial.site.data)
    rows = torch.cat([splits.pool[: MAX_ROWS - ODD_ROWS], noise(ODD_ROWS, splits.task.shape, rng=_rng())])
    order = torch.randperm(len(rows), generator=_rng())

    def answers(calls: Sequence[Tensor], account: int = 0) -> Tensor:
        with one_thread():
            responder = trial.deployed()
            return torch.cat([responder(QueryBatch(inputs=call, account=account)).posteriors for call in calls])

    whole = answers([rows])
    asked = {
        "split into calls of 1 to 100 rows": answers(rows.split([1, 1, 30, 100, len(rows) - 132])),
        "in another order": answers([rows[order]])[order.argsort()],
        "with each row repeated": answers(rows.repeat_interleave(2, dim=0).split(MAX_ROWS))[::2],
        "after other calls": answers([rows.flip(0), rows])[len(rows) :],
        "from another account": answers([rows], account=ACCOUNTS[-1]),
    }
    for how, other in asked.items():
        differing = int(((other - whole).abs().amax(dim=1) > ALIKE).sum())
        problem = f"{differing} of {len(rows)} rows differ: declare stateful, or noise = fresh, in its promise"
        yield found("alike", f"answers alike {how}", problem if differing else "")


def _beside(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    """Answer two matches in turn, and compare with the one that was alone."""
    heard = trial.first
    classes = heard.answers[0].posteriors.shape[1]
    with one_thread():
        one, other = trial.deployed(), trial.deployed(replace(trial.known, seed=trial.known.seed + 1))
        answers = []
        for call in heard.calls:
            answers.append(_answered(one, call, classes))
            _answered(other, call, classes)
    same = replace(heard, answers=answers).digest == heard.digest
    problem = "" if same else "keep what lives for one match in what deploy returns"
    yield found("beside", "two matches at once do not disturb each other", problem)


def _globals(trial: DefenseTrial) -> Iterator[PlayerFinding]:
    *_, untouched = trial.again
    yield found("globals", "leaves global generators alone", "" if untouched else TOUCHED)


DEFENSE_CHECKS: Mapping[str, Callable[[DefenseTrial], Iterator[PlayerFinding]]] = {
    "answers": _answers,
    "promise": _promise,
    "unforeseen": _unforeseen,
    "repeat": _repeats,
    "alike": _alike,
    "beside": _beside,
    "globals": _globals,
}


def _broken(trial: DefenseTrial, heard: Heard) -> str:
    """Return which promises are broken, and how often."""
    victim = prepare(heard.matchup, trial.defense, trial.site).context.victim
    broken = count_broken_promises(
        trial.defense.promise,
        clean=torch.cat([victim(call.inputs) for call in heard.calls]),
        released=torch.cat([answer.posteriors for answer in heard.answers]),
        refused=torch.cat([answer.refused for answer in heard.answers]),
        decimals=None,
    )
    return ", ".join(f"{name} on {hits} of {total} rows" for name, (hits, total) in broken.items() if hits)


def _rng() -> Generator:
    return Generator().manual_seed(0)
