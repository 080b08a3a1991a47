"""``arena report``: prints a run's results as tables, CSV or JSON, draws its curves, or logs it to MLflow."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.contracts import to_json
from arena.report.curves import draw_curves
from arena.report.files import results_csv
from arena.report.tables import tournament_report
from arena.runs.folder import TOURNAMENT, finished_results
from arena.tracking.mlflow import MlflowTracker, log_results


def command(
    folder: Annotated[Path, typer.Argument(help="Run folder, which need not be finished.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with one row per match instead of tables.")] = False,
    json: JsonOption = False,
    figure: Annotated[
        Path | None, typer.Option(help="File for a figure of the swept defenses' curves instead: .png, .pdf or .svg.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="MLflow server to which to log the results instead; those it has are skipped.")
    ] = None,
) -> None:
    """Print the tables of a run from its files; nothing is played.

    Example: arena report runs/demo --csv > demo.csv
    """
    finished = finished_results(folder)
    results, missing = finished.results, finished.missing
    if mlflow is not None:
        config = (folder / TOURNAMENT).read_text()
        name = str(tomllib.loads(config)["name"])
        new = log_results(MlflowTracker.for_folder(folder, mlflow), name, config, results)
        output.print(f"{new} of {len(results)} results were new to {mlflow}")
    elif figure is not None:
        draw_curves(results, figure)
        output.print(f"the curves are in {figure}")
    elif json:
        print_json([to_json(result) for result in results])
    elif csv:
        typer.echo(results_csv(results), nl=False)
    else:
        output.print(tournament_report(results))
        if missing:
            output.print(f"{missing} of {missing + len(results)} matches are missing; play them: arena resume {folder}")
