"""The ``arena`` command: its subcommands, and errors as one message with an exit code."""

from __future__ import annotations

import errno
import os
import sys

import typer
from rich.text import Text

from arena.cli import (
    check,
    compare,
    doctor,
    list_,
    merge,
    new,
    plan,
    play,
    prune,
    report,
    resume,
    run,
    sandbox,
    serve,
    show,
    top,
    verify,
)
from arena.cli.console import carry_every_character, errors, stopped, stopped_exit
from arena.contracts import ArenaError, PlayerFault, UsageError
from arena.entries.loading import SandboxedEntries
from arena.oracle.interrupts import raise_on_signals
from arena.registry import loader_in_use
from arena.version import __version__

USAGE_EXIT, FAILURE_EXIT = 2, 1
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="arena",
    help=(
        "Measure how well attacks copy a model by querying it, and what defenses against this achieve and cost.\n\n"
        "Start with: arena play --attack knockoff --defense mad. Every command has an example in its --help."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Print the version if it is asked for; the subcommands do everything else."""
    if version:
        print(__version__)
        raise typer.Exit


app.command("list")(list_.command)
app.command("play")(play.command)
app.command("run")(run.command)
app.command("resume")(resume.command)
app.command("plan")(plan.command)
app.command("top")(top.command)
app.command("show")(show.command)
app.command("report")(report.command)
app.command("compare")(compare.command)
app.command("verify")(verify.command)
app.command("merge")(merge.command)
app.command("prune")(prune.command)
app.command("serve")(serve.command)
app.command("check")(check.command)
app.command("new")(new.command)
app.command("doctor")(doctor.command)
app.command("sandbox")(sandbox.command)


def main() -> None:
    """Run the command line; a user's mistake gives one message on stderr and exit code 2, never a traceback."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }.items():
        os.environ.setdefault(name, value)
    raise_on_signals()
    carry_every_character()
    try:
        with loader_in_use(SandboxedEntries()):  # commands that are for an author's own entry import it instead
            app()
    except UsageError as error:
        errors.print(_failure("error", error))
        sys.exit(USAGE_EXIT)
    except ArenaError as error:
        errors.print(_failure(type(error).__name__, error))
        sys.exit(FAILURE_EXIT if isinstance(error, PlayerFault) else USAGE_EXIT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE_EXIT)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        errors.print(_failure("the disk is full", f"{error}; make room and try again. Nothing is lost"))
        sys.exit(USAGE_EXIT)
    except KeyboardInterrupt as interrupt:
        errors.print(stopped(interrupt))
        sys.exit(stopped_exit(interrupt))


def _failure(what: str, about: object) -> Text:
    return Text.assemble((f"{what}:", "bold red"), f" {about}")
