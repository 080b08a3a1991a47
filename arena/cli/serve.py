"""``arena serve``: serves a defended victim to any gRPC client."""

from __future__ import annotations

import contextlib
import json as json_format
import os
import secrets
import signal
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.cli.options import (
    ACCOUNTS_HELP,
    DECIMALS_HELP,
    EXPLANATION_HELP,
    EXPLANATION_PRICE_HELP,
    OUTLIERS_HELP,
    PLAYER_OPTION_HELP,
    SURROGATE_HELP,
    VICTIM_HELP,
    DataOption,
    MetricsOption,
    matchup_of,
    site,
)
from arena.cli.own_data import show_own_data
from arena.contracts import BadParameter
from arena.learning.randomness import derived_seed
from arena.match.admission import admit
from arena.match.deployment import deploy, oracle_terms
from arena.match.preparation import prepare
from arena.match.rows import load_pool
from arena.oracle.meter import Meter
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.registry import build_attack, build_defense
from arena.rpc.server import OracleServer, serving
from arena.rpc.tls import KeyPair, ServerTls
from arena.runs.metrics import Listening, OracleFigures, offered


def command(
    victim: Annotated[str, typer.Option(help=VICTIM_HELP)] = "digits",
    defense: Annotated[str, typer.Option(help=PLAYER_OPTION_HELP)] = "none",
    budget: Annotated[int, typer.Option(help="Query budget: the number of rows that clients may query.")] = 100,
    pool: Annotated[str, typer.Option(help="Kind of pool that a client may fetch.")] = "same",
    accounts: Annotated[int, typer.Option(help=ACCOUNTS_HELP)] = 1,
    explanation: Annotated[str, typer.Option(help=EXPLANATION_HELP)] = "",
    explanation_price: Annotated[int, typer.Option(help=EXPLANATION_PRICE_HELP, min=0)] = 1,
    decimals: Annotated[int | None, typer.Option(help=DECIMALS_HELP)] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the match; the defense's randomness also depends on the installation's secret.")
    ] = 0,
    surrogate: Annotated[str, typer.Option(help=SURROGATE_HELP)] = "",
    outliers: Annotated[str, typer.Option(help=OUTLIERS_HELP)] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 means a free one.", min=0, max=65535)] = 0,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Allow an address that other machines can reach, unencrypted.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate in PEM, with those that lead to its authority; needs --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of --tls-cert, in PEM.")] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Ledger file; an existing one is continued under its token. Default: a temporary file."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop serving after this many seconds; default: at Ctrl-C.")
    ] = None,
    metrics: MetricsOption = None,
    data: DataOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print address and token as one line of JSON.")] = False,
) -> None:
    """Serve a defended victim to gRPC clients until Ctrl-C.

    Every row is charged to the budget, in a ledger that survives a crash.

    Example: arena serve --victim digits --defense none --budget 100 --port 0 --json
    """
    here, meter = site(data), Meter()
    tls = _tls(tls_cert, tls_key)
    figures_at = Listening.read(metrics) if metrics else None
    matchup = matchup_of(
        where="arena serve",
        victim=victim,
        attack="knockoff",
        defense=defense,
        budget=budget,
        pool=pool,
        accounts=accounts,
        seed=seed,
        decimals=decimals,
        explanation=explanation,
        explanation_price=explanation_price,
        known={"surrogate": surrogate, "outliers": outliers},
    )
    player = build_defense(matchup.defense)
    admit(matchup, build_attack(matchup.attack), player, here)
    show_own_data([matchup.victim], here.data)
    with errors.status("preparing the victim ..."):
        prepared = prepare(matchup, player, here)
    path = ledger or Path(tempfile.mkdtemp(prefix="arena-serve-")) / "ledger.sqlite"
    record = SqliteLedger.open(path, budget=budget)
    session = Session(
        oracle_terms(matchup, prepared.context.victim.task),
        responder=deploy(matchup, player, prepared, here),
        ledger=record,
        explainer=prepared.context.explainer,
        decimals=decimals,
        meter=meter,
    )
    rows = load_pool(matchup.victim, matchup.pool, matchup.pool_source, here)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    server = OracleServer(meter=meter)
    with (
        offered(OracleFigures(lambda: meter.reading), figures_at),
        serving(host, port, exposed=insecure_bind, tls=tls, server=server),
    ):
        token = server.open(session, pool=rows, attack_seed=derived_seed(seed, "attack"), token=_token_of(path))
        _announce(server.address, token, session, path, as_json=json)
        with contextlib.suppress(KeyboardInterrupt):
            over.wait(seconds)
        errors.print(f"{budget - session.remaining} of {budget} units were spent; the ledger is in {path}")


def _tls(certificate: Path | None, key: Path | None) -> ServerTls | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        message = "--tls-cert and --tls-key belong together: give both, or neither"
        raise BadParameter(message)
    return ServerTls(pair=KeyPair.read(certificate, key))


def _token_of(ledger: Path) -> str:
    """Return the token of a ledger, which is drawn once and stored next to it, readable only by its owner."""
    path = ledger.with_name(f"{ledger.name}.token")
    if not path.exists():
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(32))
    return path.read_text()


def _announce(address: str, token: str, session: Session, ledger: Path, *, as_json: bool) -> None:
    """Print how to reach the oracle, as one line of JSON or as text."""
    task = session.terms.task
    if as_json:
        line = {
            "address": address,
            "token": token,
            "task": {"shape": list(task.shape), "classes": task.classes},
            "budget": session.terms.budget,
            "remaining": session.remaining,
            "ledger": str(ledger),
        }
        typer.echo(json_format.dumps(line))
        return
    output.print(f"address  {address}\ntoken    {token}\ntask     inputs {task.shape}, {task.classes} classes")
    output.print(f"budget   {session.remaining} of {session.terms.budget} left\nledger   {ledger}")
    output.print("protocol protos/arena/proto/v1/oracle.proto; send the token as metadata: authorization: Bearer TOKEN")
