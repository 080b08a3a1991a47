"""``arena play``: plays one match in this process."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.cli.debugging import DebuggedAttack
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
    JsonOption,
    matchup_of,
    print_json,
    site,
)
from arena.cli.own_data import show_own_data
from arena.contracts import MatchResult, Matchup, Recipe, to_json
from arena.match.play import in_process, play
from arena.match.site import Site
from arena.referee.keys import result_key
from arena.referee.settlement import settled
from arena.referee.tournament import POOLS
from arena.registry import build_attack, build_defense, use_loader
from arena.report.match_tables import match_table
from arena.rpc.transport import over_grpc


def command(
    victim: Annotated[str, typer.Option(help=VICTIM_HELP)] = "digits",
    attack: Annotated[str, typer.Option(help=PLAYER_OPTION_HELP)] = "knockoff",
    defense: Annotated[str, typer.Option(help=PLAYER_OPTION_HELP)] = "none",
    budget: Annotated[int, typer.Option(help="Query budget: the number of rows that the attack may query.")] = 200,
    pool: Annotated[str, typer.Option(help=f"Kind of pool that the attack is given: {', '.join(POOLS)}.")] = "same",
    source: Annotated[
        str, typer.Option(help="Data set of a near or far pool; default: the one that belongs to the victim's data.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the match.")] = 0,
    surrogate: Annotated[str, typer.Option(help=SURROGATE_HELP)] = "",
    outliers: Annotated[str, typer.Option(help=OUTLIERS_HELP)] = "",
    informed: Annotated[bool, typer.Option("--informed", help="Tell the attack which defense it meets.")] = False,
    accounts: Annotated[int, typer.Option(help=ACCOUNTS_HELP)] = 1,
    explanation: Annotated[str, typer.Option(help=EXPLANATION_HELP)] = "",
    explanation_price: Annotated[int, typer.Option(help=EXPLANATION_PRICE_HELP, min=0)] = 1,
    threat: Annotated[
        list[str] | None,
        typer.Option(help="Threat that the referee then tries with the clone, such as evasion; can be repeated."),
    ] = None,
    threat_budget: Annotated[int, typer.Option(help="Number of rows that each threat may query.", min=1)] = 1_000,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the image grids of threats; default: they are not kept.")
    ] = None,
    decimals: Annotated[int | None, typer.Option(help=DECIMALS_HELP)] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Training steps of the referee's clones; default: by the size of the transfer set.", min=1),
    ] = None,
    data: DataOption = None,
    grpc: Annotated[bool, typer.Option("--grpc", help="Send the queries over gRPC instead of in process.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Run the attack in Python's debugger.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Run entries in a sandbox, as tournaments do; default: in this process.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Play one match in this process, which takes seconds.

    Example: arena play --victim digits --attack knockoff --defense mad --budget 200
    """
    if not sandbox:
        use_loader(None)
    matchup = matchup_of(
        where="arena play",
        victim=victim,
        attack=attack,
        defense=defense,
        budget=budget,
        pool=pool,
        source=source,
        accounts=accounts,
        seed=seed,
        decimals=decimals,
        informed=informed,
        explanation=explanation,
        explanation_price=explanation_price,
        threats=threat or (),
        threat_budget=threat_budget,
        known={"surrogate": surrogate, "outliers": outliers},
    )
    matchup = replace(matchup, recipe=Recipe(steps=steps))
    with errors.status("playing ..."), tempfile.TemporaryDirectory(prefix="arena-") as work:
        here = replace(site(data, work=Path(work)), pictures=pictures)
        show_own_data([matchup.victim], here.data)
        result = _played(matchup, here, over_wire=grpc, debug=debug)
    if json:
        print_json(to_json(result))
    else:
        output.print(match_table(result))
    if result.verdict.outcome != "completed":
        raise typer.Exit(1)


def _played(matchup: Matchup, site: Site, *, over_wire: bool, debug: bool) -> MatchResult:
    """Play one matchup in this process; a faulty defense is scored as none."""

    def one(matchup: Matchup) -> MatchResult:
        attack = build_attack(matchup.attack)
        return play(
            matchup,
            attack=DebuggedAttack(base=attack) if debug else attack,
            defense=build_defense(matchup.defense),
            site=site,
            transport=over_grpc if over_wire else in_process,
        )

    return replace(settled(matchup, one), key=result_key(matchup, site))
