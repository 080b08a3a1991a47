"""A run folder: its files, and how it is created, opened, locked, and read without playing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from arena.contracts import (
    LedgerUnavailable,
    MatchResult,
    Matchup,
    RunFolderBusy,
    RunFolderChanged,
    RunFolderExists,
    UnknownName,
    matchup_id,
)
from arena.match.rules import RULES
from arena.match.secret import Secret, installation_secret
from arena.match.site import Limits, Site
from arena.referee.journal import read_journal
from arena.referee.keys import changed
from arena.referee.tables import to_toml
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import read_tournament, to_table
from arena.report.files import write_whole
from arena.version import __version__

TOURNAMENT, SETTINGS, TRANSCRIPTS, DATABASE = "tournament.toml", "run.json", "transcripts", "mlflow.db"
ARTIFACTS = "artifacts"  # the files of the runs in the database
PICTURES = "pictures"
PRUNED = "pruned.json"  # the names of transcripts that `arena prune` removed


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a tournament is run; on the same kind of device, none of these settings changes an honest player's result."""

    runner: str = "ray"
    address: str | None = None
    insecure_bind: bool = False  # whether matches between nodes are not encrypted
    mlflow: str | None = None  # None: an SQLite file in the run folder; "none": not recorded
    data: str | None = None
    cache: str = ""
    unsafe: bool = False  # whether entries run without a sandbox


@dataclass(frozen=True, kw_only=True)
class AdmittedMatchups:
    """The matchups of a tournament, how many of them have each flag, and digests of what their results depend on."""

    matchups: list[Matchup]
    flags: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # which ones have a flag, in words


def create_run_folder(folder: Path, tournament: Tournament, settings: Settings, admitted: AdmittedMatchups) -> None:
    """Create a run folder with all that `arena resume` needs. Raises `RunFolderExists` if there is something in it."""
    if folder.exists() and not (folder.is_dir() and _is_unused(folder)):
        message = f"{folder} exists and is not empty: choose another folder with --out"
        raise RunFolderExists(message)
    try:
        (folder / TRANSCRIPTS).mkdir(parents=True, exist_ok=True)
        write_whole(folder / TOURNAMENT, to_toml(to_table(tournament)))
        write_settings(folder, settings, admitted)
    except OSError as error:
        message = f"cannot write the run folder {folder}: {error.strerror}"
        raise LedgerUnavailable(message) from error


def _is_unused(folder: Path) -> bool:
    """Return whether a folder is empty, or was left by a process that ended while it created the run folder."""
    begun = {TRANSCRIPTS, TOURNAMENT, f".{TOURNAMENT}.partial", f".{SETTINGS}.partial"}
    return {path.name for path in folder.iterdir()} <= begun and not any((folder / TRANSCRIPTS).glob("*"))


def write_settings(folder: Path, settings: Settings, admitted: AdmittedMatchups) -> None:
    """Write a run folder's settings, the versions in use, its matchups, and digests of what their results depend on."""
    names = [matchup_id(matchup) for matchup in admitted.matchups]
    table = {
        **asdict(settings),
        "versions": versions(),
        "inputs": dict(admitted.inputs),
        "tournament": file_digest(folder / TOURNAMENT),
        "matchups": names,
    }
    write_whole(folder / SETTINGS, json.dumps(table, indent=1) + "\n")


@dataclass(frozen=True, kw_only=True)
class FinishedResults:
    """The results of a run folder in the order of its matchups, and the number of matchups without a result."""

    results: list[MatchResult]
    missing: int


def finished_results(folder: Path) -> FinishedResults:
    """Return the finished results of a run.

    Only files are read, because entries may have changed or disappeared since they played. Raises `UnknownName` if this
    is not a run folder, or has no result yet.
    """
    try:
        wanted: list[str] = json.loads((folder / SETTINGS).read_text())["matchups"]
    except (OSError, ValueError, KeyError) as error:
        message = f"{folder} is not a run folder: {folder / SETTINGS} cannot be read"
        raise UnknownName(message) from error
    found = {matchup_id(result.matchup): result for result in read_journal(folder)}
    results = [found[name] for name in wanted if name in found]
    if not results:
        message = f"{folder} has no finished match yet; continue it with `arena resume {folder}`"
        raise UnknownName(message)
    return FinishedResults(results=results, missing=len(wanted) - len(results))


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The tournament of a run folder, its settings, and digests of what its results depend on."""

    tournament: Tournament
    settings: Settings
    inputs: Mapping[str, str]

    def check_unchanged(self, now: Mapping[str, str]) -> None:
        """Raise `RunFolderChanged` if something that the results depend on has changed since the run began."""
        differing = changed(self.inputs, now) if self.inputs else ["or may have: this folder does not record it"]
        if differing:
            message = (
                "this run cannot be continued, because what its results depend on has changed since it began "
                f"({'; '.join(differing)}). Undo the change, or start the tournament in a new folder, which reuses the "
                "results that do not depend on the change"
            )
            raise RunFolderChanged(message)


def open_run_folder(folder: Path) -> RunFolder:
    """Return the contents of a run folder. Raises `UnknownName` if this is not a run folder."""
    if not (folder / TOURNAMENT).exists() or not (folder / SETTINGS).exists():
        message = f"{folder} is not a run folder: it lacks {TOURNAMENT} or {SETTINGS}"
        raise UnknownName(message)
    stored = json.loads((folder / SETTINGS).read_text())
    for derived in ("versions", "tournament", "matchups"):
        stored.pop(derived, None)
    inputs = stored.pop("inputs", {})
    tournament = read_tournament(folder / TOURNAMENT)
    return RunFolder(tournament=tournament, settings=Settings(**stored), inputs=inputs)


def recorded_inputs(folder: Path) -> dict[str, str]:
    """Return the digests, by description, of what a folder's results depend on; empty if they cannot be read."""
    try:
        stored = json.loads((folder / SETTINGS).read_text())["inputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {str(name): str(digest) for name, digest in stored.items()} if isinstance(stored, dict) else {}


def site_of(folder: Path, tournament: Tournament, settings: Settings) -> Site:
    """Return the site of a run folder, whose transcripts are the ledgers of its matches."""
    return Site(
        work=(folder / TRANSCRIPTS).resolve(),
        pictures=(folder / PICTURES).resolve(),
        data=Path(settings.data) if settings.data else None,
        cache=Path(settings.cache),
        device="cuda" if settings.runner == "ray" and tournament.resources.use_gpus else "cpu",
        limits=Limits(**tournament.limits),
        sandboxed=not settings.unsafe,
        secret=installation_secret() if tournament.secret is None else Secret.stated(tournament.secret),
    )


def transcript_path(folder: Path, result: MatchResult) -> Path:
    """Return the path of the ledger of a result's match, which is its transcript; reused results have none here."""
    return folder / TRANSCRIPTS / f"{matchup_id(result.matchup)}-{result.attempt}.sqlite"


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes as 32 hex digits, or an empty string if there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


def pruned_transcripts(folder: Path) -> frozenset[str]:
    """Return the names of the transcripts that were pruned from a run folder."""
    try:
        return frozenset(json.loads((folder / PRUNED).read_text()))
    except (OSError, ValueError):
        return frozenset()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock a run folder against other processes for as long as this process lives; the lock does not pass to forks."""
    with (folder / ".lock").open("wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another process is playing in {folder}: wait for it or end it, then run `arena resume {folder}`"
            raise RunFolderBusy(message) from None
        yield


def versions() -> dict[str, str]:
    """Return the versions of the software that plays, and the type of machine."""
    found = {"arena": __version__, "rules": RULES, "python": platform.python_version(), "torch": torch.__version__}
    for package in ("ray", "mlflow", "grpcio", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.system()} {platform.machine()}"}
