"""What a sandbox is given for an entry: a copy of its folder, a folder with its sockets, and a program of ours."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from arena.contracts import BadParameter, Parameter, Spec, to_json
from arena.contracts.encoding import Json, spec_from_json
from arena.registry import entries_in, folder_digest
from arena.registry.entries import entry_files
from arena.sandbox.interpreter import Interpreter, interpreter
from arena.sandbox.job import BoxLimits, Job, Mount

ENTRIES, SOCKETS = "/entries", "/run/arena"
PREFIX = "arena-box-"
INSIDE = "arena.entries.inside"
_READABLE_FOLDER, _READABLE_FILE = 0o755, 0o644


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The entries of one player, copied to where a sandbox's own user can read them and nobody changes them."""

    folder: Path
    places: Mapping[str, str]  # from the names of entries in specs to where they are inside

    @property
    def sockets(self) -> Path:
        return self.folder / "sockets"

    def inside(self, spec: Spec) -> Json:
        """Return a spec as JSON, with entries where they are inside."""
        return to_json(moved(spec, self.places))

    def job(self, what: str, request: Mapping[str, Json], *, limits: BoxLimits) -> Job:
        """Return the job that runs our program inside, which does ``what`` as requested."""
        python: Interpreter = interpreter()
        mounts = [Mount(host=self.folder / "entries", inside=ENTRIES), Mount(host=self.sockets, inside=SOCKETS)]
        return Job(
            argv=python.argv("-m", INSIDE, what),
            mounts=(*python.mounts, *mounts),
            hidden=python.hidden,
            environment=python.environment,
            stdin=json.dumps(request).encode(),
            limits=limits,
        )

    def command(self, spec: Spec, argv: tuple[str, ...], environment: Mapping[str, str], *, limits: BoxLimits) -> Job:
        """Return the job that runs an entry's own command in its folder; all that it prints is output."""
        mounts = (Mount(host=self.folder / "entries", inside=ENTRIES), Mount(host=self.sockets, inside=SOCKETS))
        return Job(
            argv=("/bin/sh", "-c", 'exec "$@" >&2', "sh", *argv),
            mounts=mounts,
            environment=environment,
            folder=self.places[spec.name],
            limits=limits,
        )


@contextlib.contextmanager
def staged(spec: Spec) -> Iterator[Stage]:
    """Copy the entries of a spec to a folder of their own, and remove it at the end. Raises `BadParameter`."""
    stage = open_stage(spec)
    try:
        yield stage
    finally:
        close_stage(stage)


def open_stage(spec: Spec) -> Stage:
    """Copy the entries of a spec to a folder of their own; `close_stage` removes it. Raises `BadParameter`."""
    remove_left_over(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    places: dict[str, str] = {}
    try:
        for name in ("entries", "sockets"):
            (folder / name).mkdir()
            (folder / name).chmod(_READABLE_FOLDER)
        for name, place in places_of(spec).items():
            source, target = Path(name).expanduser().resolve(), folder / place.lstrip("/")
            _copy(source, target)
            if not place.endswith(folder_digest(target)):
                message = f"{source} has changed while it was copied; try again"
                raise BadParameter(message)
            places[name] = place
    except BaseException:
        shutil.rmtree(folder)
        raise
    return Stage(folder=folder, places=places)


@functools.cache
def remove_left_over(where: Path) -> int:
    """Remove the stages of our processes that are gone, for example killed, and return their number; looked for once."""
    stages = [path for path in where.glob(f"{PREFIX}*-*") if path.is_dir() and path.stat().st_uid == os.getuid()]
    orphans = [path for path in stages if not Path("/proc", path.name.removeprefix(PREFIX).partition("-")[0]).exists()]
    for path in orphans:
        shutil.rmtree(path, ignore_errors=True)
    return len(orphans)


def places_of(spec: Spec) -> Mapping[str, str]:
    """Return where the entries of a spec are inside, by the names that it gives them. Raises `BadParameter`."""
    names = dict.fromkeys(entries_in(spec))
    digests = [folder_digest(Path(name).expanduser().resolve()) for name in names]
    return {
        name: f"{ENTRIES}/{place}-{digest}" for place, (name, digest) in enumerate(zip(names, digests, strict=True))
    }


def outside(value: Json, places: Mapping[str, str]) -> Spec:
    """Return a spec that came from inside, with entries where they are on this machine. Raises ValueError."""
    return moved(
        spec_from_json(value), {inside: str(Path(name).expanduser().resolve()) for name, inside in places.items()}
    )


def close_stage(stage: Stage) -> None:
    """Remove what was copied."""
    shutil.rmtree(stage.folder, ignore_errors=True)


def moved(spec: Spec, places: Mapping[str, str]) -> Spec:
    """Return a spec whose entries are in other places."""

    def of(value: Parameter) -> Parameter:
        if isinstance(value, tuple):
            return tuple(of(item) for item in value)
        return moved(value, places) if isinstance(value, Spec) else value

    return replace(
        spec, name=places.get(spec.name, spec.name), params=tuple((key, of(value)) for key, value in spec.params)
    )


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    target.chmod(_READABLE_FOLDER)
    for path in entry_files(source):
        place = target / path.relative_to(source)
        for parent in reversed(place.relative_to(target).parents[:-1]):
            (target / parent).mkdir(exist_ok=True)
            (target / parent).chmod(_READABLE_FOLDER)
        place.write_bytes(path.read_bytes())
        place.chmod(_READABLE_FILE)
