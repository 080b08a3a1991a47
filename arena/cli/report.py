"""``arena report``: the tables of a run again, as text, CSV or JSON; or into MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.cli.wiring import TOURNAMENT, open_run_folder
from arena.contracts import UnknownName, matchup_id, to_json
from arena.referee.journal import read_results
from arena.report.files import results_csv
from arena.report.tables import tournament_report
from arena.tracking.mlflow import MlflowTracker, log_results


def command(
    folder: Annotated[Path, typer.Argument(help="A run folder, finished or not.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print a row a match.")] = False,
    json: JsonOption = False,
    mlflow: Annotated[str | None, typer.Option(help="Log the results to this MLflow server; twice is once.")] = None,
) -> None:
    """Print the tables of a run from its files; nothing is played.

    Example: arena report runs/demo --csv > demo.csv
    """
    terms, _ = open_run_folder(folder)
    found = {matchup_id(result.matchup): result for result in read_results(folder)}
    wanted = [matchup_id(matchup) for matchup in terms.matchups()]
    results = [found[name] for name in wanted if name in found]
    if not results:
        message = f"{folder} has no finished match yet; go on with: arena resume {folder}"
        raise UnknownName(message)
    if mlflow is not None:
        new = log_results(
            MlflowTracker.for_folder(folder, mlflow), terms.name, (folder / TOURNAMENT).read_text(), results
        )
        output.print(f"{new} of {len(results)} results were new to {mlflow}")
    elif json:
        print_json([to_json(result) for result in results])
    elif csv:
        typer.echo(results_csv(results), nl=False)
    else:
        output.print(tournament_report(results))
        if len(results) < len(wanted):
            output.print(f"{len(wanted) - len(results)} of {len(wanted)} matches are missing: arena resume {folder}")
