"""A protected model releases what a match releases, and needs none of the services that a match is played over."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import arena
from arena import Protected
from arena.contracts import BadParameter, InvalidQuery, Matchup, NeedUnmet, SurrogateKind, UnknownName
from arena.defenses.none import NoDefense
from arena.learning.training import predict
from arena.match.deployment import ledger_path
from arena.match.preparation import prepare
from arena.match.secret import Secret
from arena.match.site import Site
from arena.match.victims import load_splits, load_victim
from arena.oracle.sqlite_ledger import read_transcript
from arena.registry import names
from tests.players import MATCHUP, meeting, played, small

DOCUMENT = Path(__file__).parents[1] / "docs" / "deploy-a-defense.md"


SECRET_WORDS = "of the season"
"""The secret of the matches here. Their two seeds differ as well, so that none of the three can stand for another."""


def victim_network(site: Site) -> nn.Module:
    module = load_victim(MATCHUP.victim, 1, site).module
    assert module is not None
    return module


def seeded(matchup: Matchup, surrogate: SurrogateKind | None = None) -> Matchup:
    """Return a matchup of another seed than its victim's."""
    knowledge = replace(matchup.knowledge, **({} if surrogate is None else {"surrogate": surrogate}))
    return replace(matchup, victim_seed=1, seed=2, knowledge=knowledge)


def protected_as_in(matchup: Matchup, site: Site, **seeds: Any) -> Protected:
    splits = load_splits(matchup.victim, site.data)
    return arena.protect(
        victim_network(site),
        matchup.defense.name,
        training=splits.training,
        validation=splits.validation,
        outliers=prepare(matchup, NoDefense(), site).context.outliers,
        surrogate=matchup.knowledge.surrogate,
        **{"seed": 2, "training_seed": 1, "secret": SECRET_WORDS, **seeds},
        **dict(matchup.defense.params),
    )


def same_answers(protected: Protected, ledger: Path) -> bool:
    calls = read_transcript(ledger).calls
    answers = [protected.answer(call.queries.inputs, account=call.request.account) for call in calls]
    return all(
        torch.equal(answer.posteriors, call.answer.posteriors) and torch.equal(answer.refused, call.answer.refused)
        for answer, call in zip(answers, calls, strict=True)
    )


@pytest.mark.parametrize("name", names("defense"))
def test_releases_what_a_match_of_the_same_seeds_and_secret_releases_bit_for_bit(name: str, site: Site):
    here = replace(site, secret=Secret.stated(SECRET_WORDS))
    matchup = seeded(meeting(MATCHUP.attack, small("defense", name)))
    assert played(matchup, here).verdict.outcome == "completed"
    assert same_answers(protected_as_in(matchup, here), ledger_path(here, matchup, attempt=1))


@pytest.mark.parametrize("surrogate", ["same-architecture", "other-architecture"])
def test_a_trained_surrogate_is_that_of_the_match(surrogate: SurrogateKind, site: Site):
    here = replace(site, secret=Secret.stated(SECRET_WORDS))
    matchup = seeded(meeting(MATCHUP.attack, small("defense", "mad")), surrogate)
    assert played(matchup, here).verdict.outcome == "completed"
    assert same_answers(protected_as_in(matchup, here), ledger_path(here, matchup, attempt=1))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("gaussian-noise", {"seed": 1}),
        ("mad", {"training_seed": 2}),
        ("mad", {"secret": ""}),
        ("gaussian-noise", {"secret": Secret.stated("of another season")}),
    ],
    ids=["seed", "training-seed", "no-secret", "another-secret"],
)
def test_another_seed_or_secret_releases_other_rows(name: str, other: dict[str, object], site: Site):
    here = replace(site, secret=Secret.stated(SECRET_WORDS))
    matchup = seeded(meeting(MATCHUP.attack, small("defense", name)))
    assert played(matchup, here).verdict.outcome == "completed"
    assert not same_answers(protected_as_in(matchup, here, **other), ledger_path(here, matchup, attempt=1))


def test_the_training_seed_is_the_seed_unless_it_is_given():
    model, inputs = nn.Linear(12, 5), torch.rand(100, 12)
    both, same, other = (
        arena.protect(model, "mad", seed=1, **more)(inputs) for more in ({}, {"training_seed": 1}, {"training_seed": 0})
    )
    assert torch.equal(both, same)
    assert not torch.equal(both, other)


def test_any_network_of_logits_will_do():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    inputs = torch.rand(300, 3, 4)
    released = arena.protect(model, "rounding", decimals=1)(inputs)
    assert torch.allclose(released.sum(dim=1), torch.ones(300))
    assert torch.equal(released.argmax(dim=1), model(inputs).argmax(dim=1))
    assert torch.equal(arena.protect(model, "none")(inputs), predict(model, inputs))


def test_the_seed_is_the_noise():
    model, inputs = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), torch.rand(3, 3, 4)
    first, again, other = (arena.protect(model, "gaussian-noise", seed=seed)(inputs) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda model: arena.protect(model, "mda"), UnknownName, "did you mean 'mad'"),
        (lambda model: arena.protect(model, "mad", epsilom=1.0), BadParameter, "did you mean 'epsilon'"),
        (lambda model: arena.protect(model, "mad", surrogate="attacker"), BadParameter, "no attacker plays here"),
        (lambda model: arena.protect(model, "mad", surrogate="same-architecture"), NeedUnmet, "give training"),
        (lambda model: arena.protect(model, "top-k", k=6)(torch.rand(2, 12)), BadParameter, "5 classes"),
        (lambda model: arena.protect(model, "none")(torch.rand(2, 12).double()), InvalidQuery, "float32"),
        (lambda model: arena.protect(model, "none")(torch.rand(2, 12) + 1), InvalidQuery, r"in \[0, 1\]"),
        (lambda model: arena.protect(model, "none")(torch.empty(0, 12)), InvalidQuery, "at least one row"),
        (lambda model: arena.protect(nn.Linear(12, 1), "none")(torch.rand(2, 12)), BadParameter, "logits"),
    ],
)
def test_what_cannot_be_is_said(call, error, said):
    with pytest.raises(error, match=said):
        call(nn.Linear(12, 5))


def test_a_later_call_of_another_shape_is_refused_and_the_next_answered():
    protected = arena.protect(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), "none")
    assert protected(torch.rand(2, 3, 4)).shape == (2, 5)
    with pytest.raises(InvalidQuery, match=r"shape \(N, 3, 4\)"):
        protected(torch.rand(2, 12))
    assert protected(torch.rand(2, 3, 4)).shape == (2, 5)


def test_no_service_is_imported():
    program = (
        "import sys, torch, arena; model = torch.nn.Linear(4, 3); "
        "arena.protect(model, 'mad', epsilon=0.5)(torch.rand(2, 4)); "
        "print([name for name in ('ray', 'grpc', 'mlflow') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert printed.stdout.strip() == "[]"


def test_the_documented_handler_serves_what_the_callable_releases():
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    handler = next(block for block in blocks if "do_POST" in block)
    lines = [line for line in handler.splitlines() if line.strip() and not line.startswith("import")]
    assert len(lines) <= 10
    protected = arena.protect(nn.Linear(4, 3), "mad", epsilon=0.5)
    scope: dict[str, object] = {"protected": protected}
    exec(handler, scope)
    handler_class = scope["Handler"]
    handler_class.log_message = lambda *_: None  # type: ignore[attr-defined]
    rows = torch.rand(2, 4)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_class) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}", data=json.dumps(rows.tolist()).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            served = torch.tensor(json.loads(response.read()))
        server.shutdown()
    assert torch.equal(served, protected(rows))
