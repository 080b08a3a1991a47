"""``arena doctor``: tries on this machine everything that a run needs."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table
from rich.text import Text

from arena.cli.console import errors, output
from arena.cli.options import DataOption, JsonOption, print_json, site
from arena.cluster.membership import ADDRESS_VARIABLE, address_of_environment
from arena.cluster.runner import RayRunner
from arena.conformance.finding import Finding
from arena.contracts import Answer, DataMissing, QueryBatch, SandboxUnavailable, Task
from arena.data.datasets import dataset_names, load
from arena.match.cache import Cache
from arena.match.site import Site
from arena.oracle.ledger import MemoryLedger
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving
from arena.sandbox.bubblewrap import Bubblewrap
from arena.sandbox.promises import try_all
from arena.version import __version__

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
PROBE_SECONDS = 60.0  # how long a program may take
NAMESPACE_PROBE = ("unshare", "--user", "--map-root-user", "--net", "true")


class _NotHereError(Exception):
    """Something that is missing here, without which runs may still be possible."""


def command(
    data: DataOption = None,
    ray: Annotated[bool, typer.Option("--ray", help="Also start a Ray cluster here, which takes seconds.")] = False,
    json: JsonOption = False,
) -> None:
    """Try everything that a run needs; the exit code is 1 if something necessary does not work.

    Example: arena doctor --ray
    """
    with errors.status("trying ..."):
        findings = examine(site(data), start_ray=ray)
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        output.print(_table(findings))
    if any(finding.must and not finding.passed for finding in findings):
        raise typer.Exit(1)


def examine(here: Site, *, start_ray: bool) -> list[Finding]:
    """Return a finding for everything that a run may need; ``must`` marks what every run needs."""
    return [
        _tried("python and torch", _versions),
        _tried("GPU", _gpus, must=False),
        _tried("torchvision", _torchvision, must=False),
        _tried("proxy", _proxy),
        _tried(ADDRESS_VARIABLE, _ray_address),
        _tried("terminal", _terminal),
        _tried("gRPC", _served_row),
        _tried("Ray", lambda: _cluster(here) if start_ray else f"{version('ray')}; --ray starts a cluster to try it"),
        _tried("MLflow", lambda: version("mlflow")),
        _tried("cache", lambda: _written(here.cache)),
        _tried("data: digits", partial(_loaded, "digits", here)),
        *(_tried(f"data: {name}", partial(_loaded, name, here), must=False) for name in dataset_names()[1:]),
        *_sandbox(Bubblewrap()),
        _tried("network namespaces", lambda: _ran(NAMESPACE_PROBE), must=False),
    ]


def _tried(name: str, attempt: Callable[[], str], *, must: bool = True) -> Finding:
    try:
        return Finding(name=name, passed=True, must=must, detail=attempt())
    except _NotHereError as absence:
        return Finding(name=name, passed=False, must=must, detail=str(absence))
    except DataMissing:
        return Finding(name=name, passed=False, must=must, detail="its files are not in the data folder")
    except Exception as error:  # this command reports every failure
        return Finding(name=name, passed=False, must=must, detail=f"{type(error).__name__}: {error}")


def _versions() -> str:
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    return f"arena {__version__}, Python {platform.python_version()}, torch {torch.__version__}, {threads}"


def _gpus() -> str:
    """Multiply on every GPU that torch sees."""
    if not torch.cuda.is_available():
        raise _NotHereError("torch finds none; matches are played on the CPU")
    for number in range(torch.cuda.device_count()):
        ones = torch.ones(8, 8, device=f"cuda:{number}")
        assert float((ones @ ones).sum()) == 512.0, "a product of ones is exact"
    return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))


def _torchvision() -> str:
    """Import torchvision as a user's own script would; arena itself works around builds that do not match torch."""
    tried = subprocess.run(
        (sys.executable, "-c", "import torchvision"), capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
    )
    if tried.returncode != 0:
        reason = (tried.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise _NotHereError(
            f"{version('torchvision')} does not match torch {torch.__version__}: arena works around it, but "
            f"`import torchvision` in your own scripts fails with {reason}. Install builds that match"
        )
    return f"{version('torchvision')}; your own scripts can import it too"


def _proxy() -> str:
    """Return which proxies the environment sets, and to what they apply."""
    named = sorted(name for name in os.environ if name.lower() in PROXIES and os.environ[name])
    if not named:
        return "the environment sets none"
    return f"{', '.join(named)} is set; oracles, and an MLflow server on this machine, are still reached directly"


def _ray_address() -> str:
    named, address = os.environ.get(ADDRESS_VARIABLE), address_of_environment()
    if not named:
        return "not set; `arena run` starts a cluster here unless --address gives one"
    if address is None:
        return f"{named} is ignored, because it is not HOST:PORT; `arena run` starts a cluster here"
    return f"`arena run` joins the cluster at {address} unless --address gives another"


def _terminal() -> str:
    encoding = (sys.stdout.encoding or "unknown").lower()
    if encoding.replace("-", "") == "utf8":
        return "UTF-8"
    return f"{encoding}; characters that it lacks are written in ASCII. Set PYTHONIOENCODING=utf-8 to show all of them"


def _served_row() -> str:
    """Serve an oracle on the loopback interface, and query it with one row."""
    task = Task(shape=(1,), classes=2)

    def even(queries: QueryBatch) -> Answer:
        rows = len(queries.inputs)
        return Answer(posteriors=torch.full((rows, 2), 0.5), refused=torch.zeros(rows, dtype=torch.bool))

    session = Session(OracleTerms(task=task, budget=1), responder=even, ledger=MemoryLedger(budget=1))
    with serving() as server, Connection(server.address, server.open(session), tries=1) as connection:
        oracle = RemoteOracle(connection)
        oracle.query(torch.zeros(1, 1))
        return f"{version('grpcio')}; an oracle at {server.address} answered, and {oracle.remaining} of 1 row is left"


def _cluster(here: Site) -> str:
    runner = RayRunner(here)
    try:
        return f"{version('ray')}; a cluster was started here, with {runner.slots} attack slots"
    finally:
        runner.close()


def _written(folder: Path) -> str:
    """Write a file into the cache as a trained victim would be, and remove it again."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as probe:
        Cache(folder=Path(probe)).put("probe", b"probe")
    free = shutil.disk_usage(folder).free / 2**30
    return f"{folder} is writable, and has {free:.1f} GiB free"


def _loaded(name: str, here: Site) -> str:
    found = load(name, folder=here.data)
    return f"{len(found.labels):,} rows of shape {found.shape}, {len(found.class_names)} classes"


def _sandbox(sandbox: Bubblewrap) -> list[Finding]:
    """Return a finding for each promise of the sandbox, or a single one if no sandbox starts here."""
    try:
        tried = try_all(sandbox)
    except SandboxUnavailable as absence:
        detail = f"{absence}. Entries are refused here unless --unsafe plays them without one"
        return [Finding(name="sandbox", passed=False, must=False, detail=detail)]
    groups = sandbox.parents
    counted = "not bounded as a whole" if groups.version == "none" else f"bounded by cgroups {groups.version}"
    works = Finding(
        name="sandbox", passed=True, must=False, detail=f"{sandbox.name} works; memory and processes are {counted}"
    )
    return [
        works,
        *(Finding(name=f"sandbox: {one.promise}", passed=one.holds, must=False, detail=one.detail) for one in tried),
    ]


def _ran(program: tuple[str, ...]) -> str:
    """Run a program that ends by itself. Raises `_NotHereError` if it is not installed, or fails here."""
    if shutil.which(program[0]) is None:
        raise _NotHereError(f"{program[0]} is not installed")
    done = subprocess.run(program, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    if done.returncode != 0:
        raise _NotHereError(f"{' '.join(program)} fails: {done.stderr.strip()}")
    return f"{program[0]} works"


def _table(findings: list[Finding]) -> Table:
    table = Table(title="What works on this machine", title_justify="left")
    for column in ("", "tried", "result"):
        table.add_column(column)
    for finding in findings:
        mark = ("ok", "green") if finding.passed else ("broken", "red") if finding.must else ("missing", "yellow")
        table.add_row(Text(*mark), finding.name, finding.detail)
    return table
