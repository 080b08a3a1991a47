"""``arena sandbox``: says what an entry finds in the sandbox, and tries that all of it can be imported there."""

from __future__ import annotations

import json as json_format

import typer
from rich.table import Table

from arena.cli.console import errors, output
from arena.cli.options import JsonOption, print_json
from arena.contracts import SandboxUnavailable
from arena.sandbox.bubblewrap import Bubblewrap
from arena.sandbox.interpreter import PACKAGES, interpreter
from arena.sandbox.job import Job
from arena.sandbox.promises import works

MODULES = {
    "scikit-learn": "sklearn",
    "grpcio": "grpc",
    "protobuf": "google.protobuf",
    "torchvision": "arena.learning.torchvision_import",  # which works around builds that do not match torch
    "adversarial-robustness-toolbox": "art",
}
"""The modules of packages that are not called like them."""

TRY = """
import importlib, json, sys
found = {}
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
        found[name] = ""
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def command(json: JsonOption = False) -> None:
    """Show the Python packages of the sandbox in which entries run, and try to import them there.

    The digest identifies the interpreter and every package with all its files; results of entries depend on it. The exit
    code is 1 if a package cannot be imported.

    Example: arena sandbox
    """
    python = interpreter()
    installed = {name: MODULES.get(name, name) for name in PACKAGES if name in python.versions}
    with errors.status("importing ..."):
        problems = imported([*installed.values(), "arena.contracts"])
    if json:
        print_json({"digest": python.digest, "packages": dict(python.versions), "problems": problems})
    else:
        table = Table(title=f"The sandbox's packages, digest {python.digest}", title_justify="left")
        for column in ("package", "version", "imported"):
            table.add_column(column)
        for name, version in python.versions.items():
            module = installed.get(name)
            table.add_row(name, version, "" if module is None else problems.get(module) or "yes")
        output.print(table)
    if any(problems.values()):
        raise typer.Exit(1)


def imported(modules: list[str]) -> dict[str, str]:
    """Import modules in a sandbox, and return what each raised. Raises `SandboxUnavailable`."""
    python, sandbox = interpreter(), Bubblewrap()
    works(sandbox)
    job = Job(
        argv=python.argv("-c", TRY),
        mounts=python.mounts,
        hidden=python.hidden,
        environment=python.environment,
        stdin=json_format.dumps(modules).encode(),
    )
    ended = sandbox.start(job).wait()
    if not ended.well:
        message = f"Python does not run in the sandbox: {ended.reason} {ended.output}".strip()
        raise SandboxUnavailable(message)
    found: dict[str, str] = json_format.loads(ended.result)
    return found
