"""``arena report``: a run's results as a page, as figures, and as tables for a terminal, a paper or a program."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.cli.options import JsonOption, print_json
from arena.contracts import UnknownName, to_json
from arena.report.curves import draw_curves
from arena.report.figures import write_figures
from arena.report.files import results_csv
from arena.report.findings import findings
from arena.report.latex import latex
from arena.report.markdown import markdown
from arena.report.page.render import page as page_of
from arena.report.page.writing import REPORT_HTML, write_page
from arena.report.pictures.curves import draw_queries
from arena.report.sections.story import Rates, Story, story_of
from arena.report.tables import tournament_report
from arena.runs.folder import TOURNAMENT, recorded_inputs
from arena.runs.overview import overview_of
from arena.runs.record import read_record
from arena.tracking.mlflow import MlflowTracker, log_results


def command(
    folder: Annotated[Path, typer.Argument(help="Run folder, which need not be finished.")],
    file: Annotated[
        Path | None, typer.Argument(help=f"With --html, the file to write; default: {REPORT_HTML} in the run folder.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Write one HTML file that needs no network.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with one row per match instead of tables.")] = False,
    json: JsonOption = False,
    latex_tables: Annotated[
        bool, typer.Option("--latex", help="Print LaTeX tables for a paper, which need the package booktabs.")
    ] = False,
    markdown_tables: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables for a README.")] = False,
    figures: Annotated[
        Path | None, typer.Option(help="Folder into which to write every figure as SVG and as PDF.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="File for a figure of the swept defenses' curves instead: .png, .pdf or .svg.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="File for a figure of fidelity over queries instead: .png, .pdf or .svg.")
    ] = None,
    rows_per_day: Annotated[
        float | None, typer.Option(help="How many rows your service answers in a day: turns rows into days.", min=0.001)
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a row costs its caller: turns rows into money.", min=0)
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="MLflow server to which to log the results instead; those it has are skipped.")
    ] = None,
) -> None:
    """Show a run from its files; nothing is played.

    Example: arena report runs/demo --html
    """
    if file is not None and not html:
        message = f"{file} is to be written only with --html: arena report {folder} --html {file}"
        raise UnknownName(message)
    record, rates = read_record(folder), Rates(rows_per_day=rows_per_day, price=price)
    if mlflow is not None:
        _log(story_of(record, rates), folder, mlflow)
    elif figure is not None:
        draw_curves(record.results, figure)
        output.print(f"the curves are in {figure}")
    elif queries is not None:
        draw_queries(findings(record.results), queries)
        output.print(f"fidelity over queries is in {queries}")
    elif json:
        print_json([to_json(result) for result in record.results])
    elif csv:
        typer.echo(results_csv(record.results), nl=False)
    elif html or figures is not None or latex_tables or markdown_tables:
        story = story_of(record, rates)
        _write(story, page=(file or folder / REPORT_HTML) if html else None, figures=figures)
        if latex_tables or markdown_tables:
            typer.echo(latex(story) if latex_tables else markdown(story), nl=False)
    else:
        output.print(tournament_report(record.results))
        if record.left:
            output.print(f"{record.left} of {record.planned} matches are missing; play them: arena resume {folder}")
    for problem in record.problems:
        errors.print(problem)


def _write(story: Story, *, page: Path | None, figures: Path | None) -> None:
    """Write the page and the figures that were asked for."""
    if page is not None:
        write_page(story, page)
        errors.print(f"the report is in {page}")
    if figures is not None:
        names = write_figures(story, figures)
        errors.print(f"{len(names)} figures are in {figures}, each as SVG and PDF")


def _log(story: Story, folder: Path, address: str) -> None:
    config, results = (folder / TOURNAMENT).read_text(), story.record.results
    name = str(tomllib.loads(config)["name"])
    tracker = MlflowTracker.for_folder(folder, address, digests=recorded_inputs(folder))
    new = log_results(tracker, name, config, results, overview_of(story, page_of(story)))
    output.print(f"{new} of {len(results)} results were new to {address}")
