"""``arena plan``: says what a tournament takes and what would be refused, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from arena.cli.console import errors, output
from arena.cli.options import DataOption, JsonOption, print_json, site
from arena.cli.run import RUNS
from arena.cli.watching import duration
from arena.cluster.nodes import nodes_at, this_node
from arena.cluster.resources import slots_for
from arena.contracts import BadParameter
from arena.referee.journal import JOURNAL
from arena.referee.tournament_file import read_tournament
from arena.runs.folder import Settings, site_of
from arena.runs.planning import Plan, plan
from arena.runs.playing import earlier_results
from arena.runs.presets import find_tournament, preset_names
from arena.runs.pruning import size_in_words

REFUSED_EXIT = 2


def command(
    tournament: Annotated[str, typer.Argument(help=f"TOML file, or one of the presets {', '.join(preset_names())}.")],
    address: Annotated[str | None, typer.Option(help="Ray cluster on which it would run, as HOST:PORT.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Also for so many nodes like this one.")] = None,
    data: DataOption = None,
    reuse: Annotated[bool, typer.Option(help="Count results of other runs in runs/ that would be reused.")] = True,
    json: JsonOption = False,
) -> None:
    """Say what a tournament takes, in time, memory and disk, and what would be refused; nothing is kept.

    One match of each cell is played with every training cut short after a few steps.

    Example: arena plan demo --nodes 4
    """
    if nodes is not None and nodes < 1:
        message = f"--nodes is {nodes}; it must be 1 or more"
        raise BadParameter(message)
    terms = read_tournament(find_tournament(tournament))
    here = site(data)
    settings = Settings(data=str(here.data) if here.data else None, cache=str(here.cache))
    found = [this_node()] if address is None else nodes_at(address)
    slots = slots_for(terms.resources, found)
    where = "this machine" if address is None else f"the cluster at {address}, {len(found)} nodes"
    places = {f"on {where}, {slots} slots": slots}
    if nodes is not None:
        places[f"on {nodes} nodes like this one"] = slots_for(terms.resources, [this_node()] * nodes)
    earlier = [path.parent for path in RUNS.glob(f"*/{JOURNAL}")] if reuse else []
    with errors.status("probing ...") as status:
        planned = plan(
            terms,
            site_of(RUNS, terms, settings),
            slots=slots,
            known=earlier_results(earlier, but=Path()),
            on_probe=lambda done, cells: status.update(f"probing {done} of {cells} cells ..."),
        )
    walls = {"in this process (--runner local)": planned.wall_seconds(1, on_ray=False)}
    walls |= {place: planned.wall_seconds(number, on_ray=True) for place, number in places.items()}
    if json:
        print_json(_as_json(planned, walls))
    elif planned.refused:
        for refusal in planned.refused:
            output.print(f"refused, {refusal.matches} of {planned.matches} matches: {refusal.reason}", soft_wrap=True)
    else:
        _print(planned, walls)
    if planned.refused:
        raise typer.Exit(REFUSED_EXIT)


def _print(planned: Plan, walls: dict[str, float]) -> None:
    reused = f", {planned.reused} of which other runs have already" if planned.reused else ""
    output.print(f"{planned.matches} matches{reused}; {planned.probed} of {planned.cells} cells were probed")
    cached = f", {planned.trainings_cached} of them cached, which saves {duration(planned.saved)}"
    output.print(f"{planned.trainings} trainings of victims, surrogates and defenses{cached if planned.saved else ''}")
    table = Table(box=None)
    table.add_column("CPU time by part")
    table.add_column("", justify="right")
    for part, seconds in planned.seconds.items():
        table.add_row(part, duration(seconds))
    table.add_row("together", duration(planned.cpu_seconds))
    if planned.gpu_seconds:
        table.add_row("a GPU is held for, at most", duration(planned.gpu_seconds))
    output.print(table)
    for place, seconds in walls.items():
        output.print(f"from start to end {place}: {duration(seconds)}")
    output.print(f"memory at most: {size_in_words(planned.memory)}; disk: {size_in_words(planned.disk)}")
    for reason in planned.failed:
        output.print(f"a probed match ended with a verdict: {reason}", soft_wrap=True)


def _as_json(planned: Plan, walls: dict[str, float]) -> dict[str, object]:
    return {
        "matches": planned.matches,
        "reused": planned.reused,
        "trainings": {"all": planned.trainings, "cached": planned.trainings_cached, "saved_seconds": planned.saved},
        "cpu_seconds": {**planned.seconds, "together": planned.cpu_seconds},
        "gpu_seconds": planned.gpu_seconds,
        "wall_seconds": walls,
        "memory_bytes": planned.memory,
        "disk_bytes": planned.disk,
        "cells": {"all": planned.cells, "probed": planned.probed},
        "failed": list(planned.failed),
        "refused": [{"reason": one.reason, "matches": one.matches} for one in planned.refused],
    }
