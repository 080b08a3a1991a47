"""Proves two claims of a run: a call over budget is refused, and a match replays to the same digests."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Group, RenderableType
from rich.text import Text

from arena.contracts import BudgetExhausted, MatchResult, matchup_id
from arena.match.deployment import open_session
from arena.match.play import play
from arena.match.preparation import prepare
from arena.match.site import Site
from arena.payoff.matrix import label
from arena.registry import build_attack, build_defense
from arena.report.files import read_results
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving


def prove(folder: Path, site: Site) -> RenderableType:
    """Return both proofs for the first completed match of a run folder."""
    results = [result for result in read_results(folder) if result.verdict.outcome == "completed"]
    if not results:
        return Text("No match of this run was completed, so there is nothing to replay.")
    with tempfile.TemporaryDirectory(prefix="arena-proofs-") as work:
        apart = replace(site, work=Path(work))
        return Group(Text(over_budget(results[0], apart)), Text(replayed(results[len(results) // 2], apart)))


def over_budget(result: MatchResult, site: Site) -> str:
    """Spend a match's budget over one connection, then query another row over a second one, which does not know yet."""
    matchup = result.matchup
    defense = build_defense(matchup.defense)
    session = open_session(matchup, defense, prepare(matchup, defense, site), site, attempt=1)
    rows = torch.rand(matchup.budget, *session.terms.task.shape)
    with serving() as server:
        token = server.open(session)
        with Connection(server.address, token) as first, Connection(server.address, token) as second:
            honest, greedy = RemoteOracle(first), RemoteOracle(second)
            honest.query(rows)
            try:
                greedy.query(rows[:1])
            except BudgetExhausted as refusal:
                words = f"Over gRPC, row {matchup.budget + 1} was refused: {refusal}"
            else:
                words = "NOT REFUSED: a call over budget was answered"
        transcript = server.close(token)
    return f"{words}. The ledger records {transcript.counts.spent} of {matchup.budget} as spent."


def replayed(result: MatchResult, site: Site) -> str:
    """Play a match again in this process, and compare its digests with those of the run."""
    matchup = result.matchup
    again = play(matchup, attack=build_attack(matchup.attack), defense=build_defense(matchup.defense), site=site)
    same = (again.transcript_digest, again.clone_digest) == (result.transcript_digest, result.clone_digest)
    players = f"{label(matchup.attack)} against {label(matchup.defense)}"
    name = f"{players}, seed {matchup.seed} (match {matchup_id(matchup)})"
    transcript, clone = again.transcript_digest[:12], again.clone_digest[:12]
    if same:
        return f"Replayed in this process, {name} gave the same transcript {transcript} and the same clone {clone}."
    return (
        f"REPLAY DIFFERS: {name} gave transcript {transcript} instead of {result.transcript_digest[:12]}, and clone "
        f"{clone} instead of {result.clone_digest[:12]}."
    )
