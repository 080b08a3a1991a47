"""Puts referee, runner, tracker and run folder together for the subcommands that play."""

from __future__ import annotations

import contextlib
import fcntl
import json
import pdb
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Generator, nn

from arena.cluster.runner import RayRunner
from arena.contracts import (
    Attack,
    AttackerGround,
    LedgerUnavailable,
    MatchResult,
    Matchup,
    Oracle,
    RunFolderBusy,
    RunFolderExists,
    Runner,
    UnknownName,
    matchup_id,
)
from arena.match.play import in_process, play
from arena.match.preparation import check
from arena.match.rules import RULES
from arena.match.site import Limits, Site
from arena.referee.journal import JOURNAL, Journal, read_results
from arena.referee.keys import result_key
from arena.referee.local import LocalRunner
from arena.referee.referee import UNDEFENDED, Progress, Referee, Summary, scored_as, undefended
from arena.referee.tournament import Tournament, read_tournament, to_table, to_toml
from arena.registry import build_attack, build_defense
from arena.report.files import write_results, write_whole
from arena.rpc.transport import over_grpc
from arena.tracking.background import BackgroundTracker
from arena.tracking.mlflow import MlflowTracker
from arena.tracking.none import NoTracker
from arena.version import __version__

TOURNAMENT, SETTINGS, TRANSCRIPTS, DATABASE = "tournament.toml", "run.json", "transcripts", "mlflow.db"
PICTURES = "pictures"
PRESETS = Path(__file__).parents[1] / "tournaments"
TRACKING_SECONDS = 120.0  # that the tracker is given to finish after the last match


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a tournament is run; none of it changes what comes of a match."""

    runner: str = "ray"
    address: str | None = None
    mlflow: str | None = None  # None: a SQLite file in the run folder
    data: str | None = None
    cache: str = ""


def find_tournament(name: str) -> Path:
    """Return the file of a tournament: a path, or the name of a preset that ships with the arena."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    preset = PRESETS / f"{name}.toml"
    if not preset.exists():
        message = f"there is no file and no preset {name!r}; presets are {', '.join(preset_names())}"
        raise UnknownName(message)
    return preset


def preset_names() -> list[str]:
    """Return the tournaments that ship with the arena."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def play_one(matchup: Matchup, site: Site, *, over_wire: bool, debug: bool) -> MatchResult:
    """Play one matchup in this process, a faulty defense scored as none."""
    attack, defense = build_attack(matchup.attack), build_defense(matchup.defense)
    transport = over_grpc if over_wire else in_process
    player: Attack = Stepped(base=attack) if debug else attack
    result = play(matchup, attack=player, defense=defense, site=site, transport=transport)
    if result.verdict.fault == "defense" and matchup.defense != UNDEFENDED:
        stand_in = undefended(matchup)
        result = scored_as(
            result,
            play(stand_in, attack=attack, defense=build_defense(stand_in.defense), site=site, transport=transport),
        )
    return replace(result, key=result_key(matchup))


class Stepped(Attack):
    """An attack under the debugger, from its first line."""

    def __init__(self, *, base: Attack) -> None:
        self._base = base
        self.needs, self.stops_early = base.needs, base.stops_early  # type: ignore[misc]  # class variables of the base

    def minimum(self, task: object) -> int:
        return self._base.minimum(task)  # type: ignore[arg-type]  # the same task

    def extract(self, oracle: Oracle, ground: AttackerGround, *, rng: Generator) -> nn.Module:
        debugger = pdb.Pdb(stdout=sys.__stdout__)
        clone = debugger.runcall(self._base.extract, oracle, ground, rng=rng)
        assert clone is not None, "extract returns a clone"
        return clone


def create_run_folder(folder: Path, tournament: Tournament, settings: Settings, matchups: Iterable[Matchup]) -> None:
    """Make a run folder with everything that resuming needs. Raises `RunFolderExists` if something is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        resume = f"continue it with `arena resume {folder}`, or " if (folder / JOURNAL).exists() else ""
        message = f"{folder} exists and is not empty: {resume}name another folder with --out"
        raise RunFolderExists(message)
    try:
        (folder / TRANSCRIPTS).mkdir(parents=True, exist_ok=True)
        write_whole(folder / TOURNAMENT, to_toml(to_table(tournament)))
        write_settings(folder, settings, matchups)
    except OSError as error:
        message = f"cannot write the run folder {folder}: {error.strerror}"
        raise LedgerUnavailable(message) from error


def write_settings(folder: Path, settings: Settings, matchups: Iterable[Matchup]) -> None:
    """Write how a folder is run, with which versions, and which matchups belong to it."""
    names = [matchup_id(matchup) for matchup in matchups]
    table = {**asdict(settings), "versions": versions(), "matchups": names}
    write_whole(folder / SETTINGS, json.dumps(table, indent=1) + "\n")


def finished_results(folder: Path) -> tuple[list[MatchResult], int]:
    """Return the results of a run folder in the order of its matchups, and how many it has not yet.

    Reads files alone: entries may have changed, or be gone, since they played. Raises `UnknownName` for what is no
    run folder, or has no result.
    """
    try:
        wanted: list[str] = json.loads((folder / SETTINGS).read_text())["matchups"]
    except (OSError, ValueError, KeyError) as error:
        message = f"{folder} is no run folder: {folder / SETTINGS} cannot be read"
        raise UnknownName(message) from error
    found = {matchup_id(result.matchup): result for result in read_results(folder)}
    results = [found[name] for name in wanted if name in found]
    if not results:
        message = f"{folder} has no finished match yet; go on with: arena resume {folder}"
        raise UnknownName(message)
    return results, len(wanted) - len(results)


def open_run_folder(folder: Path) -> tuple[Tournament, Settings]:
    """Return what a run folder was made for. Raises `UnknownName` if it is none."""
    if not (folder / TOURNAMENT).exists() or not (folder / SETTINGS).exists():
        message = f"{folder} is no run folder: there is no {folder / TOURNAMENT}"
        raise UnknownName(message)
    stored = json.loads((folder / SETTINGS).read_text())
    for told in ("versions", "matchups"):
        stored.pop(told, None)
    return read_tournament(folder / TOURNAMENT), Settings(**stored)


def site_of(folder: Path, tournament: Tournament, settings: Settings) -> Site:
    """Return the site of a run folder: ledgers of finished matches become its transcripts."""
    return Site(
        work=(folder / TRANSCRIPTS).resolve(),
        pictures=(folder / PICTURES).resolve(),
        data=Path(settings.data) if settings.data else None,
        cache=Path(settings.cache),
        limits=Limits(**tournament.limits),
    )


def check_all(tournament: Tournament, site: Site) -> tuple[list[Matchup], Counter[str]]:
    """Return the matchups and how many have which flag, each checked before anything starts.

    Raises `UsageError` for the first that cannot be played.
    """
    matchups = tournament.matchups()
    flags: Counter[str] = Counter()
    for matchup in matchups:
        flags.update(check(matchup, build_attack(matchup.attack), build_defense(matchup.defense), site))
    return matchups, flags


def run(
    folder: Path,
    tournament: Tournament,
    settings: Settings,
    matchups: list[Matchup],
    *,
    reuse: Iterable[Path],
    report: Callable[[Progress], None],
) -> Summary:
    """Play what is missing in a run folder and write its files; Ctrl-C leaves it as `resume` needs it.

    Raises `RunFolderBusy` if another process plays in it.
    """
    with alone_in(folder):
        return _run(folder, tournament, settings, matchups, reuse=reuse, report=report)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from playing in a run folder, as long as this one lives; those that it forks do not count."""
    with (folder / ".lock").open("wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"{folder} is being played by another process: wait for it or end it, then `arena resume {folder}`"
            )
            raise RunFolderBusy(message) from None
        yield


def _run(
    folder: Path,
    tournament: Tournament,
    settings: Settings,
    matchups: list[Matchup],
    *,
    reuse: Iterable[Path],
    report: Callable[[Progress], None],
) -> Summary:
    site = site_of(folder, tournament, settings)
    journal = Journal(folder)
    tracker = tracker_of(folder, settings)
    runner = runner_of(site, tournament, settings)
    finished = False
    try:
        tracker.start(tournament.name, (folder / TOURNAMENT).read_text())
        for result in journal.results:
            tracker.record(result)
        referee = Referee(
            runner=runner,
            tracker=tracker,
            journal=journal,
            key_of=result_key,
            known=earlier_results(reuse, but=folder),
            report=report,
        )
        summary = referee.run(matchups)
        write_results(folder, summary.results)
        finished = True
    finally:
        runner.close()
        tracker.close(timeout=TRACKING_SECONDS if finished else 1.0)
    return replace(summary, tracking_failed=summary.tracking_failed or tracker.failure)


def runner_of(site: Site, tournament: Tournament, settings: Settings) -> Runner:
    """Return the runner that the settings name."""
    if settings.runner == "local":
        return LocalRunner(site)
    return RayRunner(site, resources=tournament.resources, address=settings.address)


def tracker_of(folder: Path, settings: Settings) -> BackgroundTracker:
    """Return the tracker that the settings name, behind a thread: it never delays a match."""
    if settings.mlflow == "none":
        return BackgroundTracker(NoTracker())
    inner = MlflowTracker.for_folder(folder, settings.mlflow or "")
    return BackgroundTracker(inner)


def earlier_results(folders: Iterable[Path], *, but: Path) -> dict[str, MatchResult]:
    """Return results of other run folders by key; a journal that cannot be read is passed over."""
    known: dict[str, MatchResult] = {}
    for folder in folders:
        if folder.resolve() != but.resolve():
            try:
                known |= {result.key: result for result in read_results(folder) if result.key}
            except (OSError, ValueError, TypeError, KeyError):
                continue
    return known


def versions() -> dict[str, str]:
    """Return what a result depends on beside the matchup."""
    found = {"arena": __version__, "rules": RULES, "python": platform.python_version(), "torch": torch.__version__}
    for package in ("ray", "mlflow", "grpcio", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.system()} {platform.machine()}"}
