"""Describes and builds players with entries in them; their code runs in sandboxes alone."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from arena.contracts import (
    Attack,
    BadParameter,
    Defense,
    Need,
    Parameter,
    Promise,
    SandboxUnavailable,
    Spec,
    StopReason,
    Task,
    from_json,
    to_json,
)
from arena.contracts.encoding import Json
from arena.entries.attack import SandboxedAttack
from arena.entries.defense import SandboxedDefense
from arena.entries.frames import BadFrame, unpacked_frame
from arena.entries.stage import Stage, outside, places_of, staged
from arena.learning.tensors import digest_of
from arena.match.cache import Cache
from arena.match.site import Site, default_cache
from arena.provenance import code_digest_of
from arena.registry import Description, Role, code_digest, entries_in, folder_digest, use_loader
from arena.registry.entries import entry_folder, manifest
from arena.sandbox.bubblewrap import Bubblewrap
from arena.sandbox.interpreter import interpreter
from arena.sandbox.job import MIB, BoxLimits, Sandbox
from arena.sandbox.promises import works

DESCRIBING = BoxLimits(memory_bytes=2048 * MIB, cpu_seconds=120.0, wall_seconds=300.0, result_bytes=16 * MIB)
"""For importing an entry and asking it what it is."""

_MISSING = "ModuleNotFoundError"
_WORDS: Mapping[str, frozenset[str]] = {
    "needs": frozenset(typing.get_args(Need)),
    "optional_needs": frozenset(typing.get_args(Need)),
    "stops_early": frozenset(typing.get_args(StopReason)),
}


@dataclass(frozen=True, kw_only=True)
class SandboxedEntries:
    """The loader of entries that nobody trusts; what they say of themselves is kept in a cache."""

    sandbox: Sandbox = field(default_factory=Bubblewrap)
    cache: Path = field(default_factory=default_cache)
    limits: BoxLimits = field(default_factory=BoxLimits)  # of a player in a match; those of time are the match's

    def describe(self, role: Role, spec: Spec) -> Description:
        """See `arena.registry.EntryLoader`; also raises `SandboxUnavailable`."""
        works_here(self)
        check_roles(role, spec)
        folder = entry_folder(spec.name)
        if folder is not None and manifest(folder).command:
            return described_command(spec, folder)
        about = self._asked("describe", role, spec, None)
        return _description(spec, about)

    def attack(self, spec: Spec) -> Attack:
        """See `arena.registry.EntryLoader`."""
        return SandboxedAttack(
            spec=spec,
            description=self.describe("attack", spec),
            least=functools.partial(self._least_budget, spec),
            sandbox=self.sandbox,
            limits=self.limits,
        )

    def defense(self, spec: Spec) -> Defense:
        """See `arena.registry.EntryLoader`."""
        described = self.describe("defense", spec)
        return SandboxedDefense(
            identity=digest_of([described.resolved, code_digest("defense", spec)]),
            spec=spec,
            description=described,
            asks=functools.partial(self._check_task, spec),
            sandbox=self.sandbox,
            limits=self.limits,
        )

    def _check_task(self, spec: Spec, task: Task) -> None:
        self._asked("suits", "defense", spec, task)

    def _least_budget(self, spec: Spec, task: Task) -> int:
        """Return the smallest budget with which an attack can play for a task."""
        least = self._asked("suits", "attack", spec, task).get("least_budget")
        return least if isinstance(least, int) else 1

    def _asked(self, what: str, role: Role, spec: Spec, task: Task | None) -> Mapping[str, Json]:
        """Return what an entry answers to a question, which is put to it once."""
        digests = [folder_digest(Path(name).expanduser()) for name in entries_in(spec)]
        asked = json.dumps([what, role, to_json(_without_places(spec)), None if task is None else asdict(task)])
        code = [interpreter().digest, code_digest_of("arena.entries.inside")]
        key = f"entry-{digest_of([asked, *digests, *code])}"
        return _answer(Cache(folder=self.cache).once(key, lambda: self._ask(what, role, spec, task)))

    def _ask(self, what: str, role: Role, spec: Spec, task: Task | None) -> bytes:
        with staged(spec) as stage:
            request: dict[str, Json] = {"role": role, "spec": stage.inside(spec)}
            if task is not None:
                request["task"] = to_json(task)
            ended = self.sandbox.start(stage.job(what, request, limits=DESCRIBING)).wait()
            names = ", ".join(entries_in(spec))
            try:
                about = unpacked_frame(ended.result).about
            except BadFrame as error:
                message = f"{names}: the entry did not say what it is, because {ended.reason}:\n{ended.output}"
                raise BadParameter(message) from error
        if "error" in about:
            raise _refusal(names, about, ended.output, stage)
        return json.dumps(dict(about)).encode()


def use_entries(site: Site) -> None:
    """Have entries played in this process as a site says: in sandboxes, or by importing them."""
    use_loader(SandboxedEntries(cache=site.cache) if site.sandboxed else None)


def check_roles(role: Role, spec: Spec) -> None:
    """Raise `BadParameter` if a spec names an entry of another role, which its manifest says without its code."""
    folder = entry_folder(spec.name)
    if folder is not None and manifest(folder).role != role:
        message = f"{folder} is an entry for the role {manifest(folder).role!r}; a {role} is needed here"
        raise BadParameter(message)


@functools.cache
def works_here(loader: SandboxedEntries) -> None:
    """Raise `SandboxUnavailable` if a loader's sandbox does not work on this machine; tried once."""
    try:
        works(loader.sandbox)
    except SandboxUnavailable as error:
        message = (
            f"an entry, which is somebody's code, runs only in a sandbox, and {error}. `arena doctor` tries again, and "
            "--unsafe runs entries without a sandbox, with your rights"
        )
        raise SandboxUnavailable(message) from error


def described_command(spec: Spec, folder: Path) -> Description:
    """Return the description of an entry that is a command: its manifest says all of it. Raises `BadParameter`."""
    about = manifest(folder)
    if spec.params:
        message = f"{folder} is a command and has no parameters, such as {spec.params[0][0]!r}"
        raise BadParameter(message)
    return Description(
        spec=Spec(name=str(folder), digest=folder_digest(folder)),
        resolved=" ".join(about.command),
        sources="",
        about=f"A command: {' '.join(about.command)}",
        needs=about.needs,
        stops_early=about.stops_early,
        command=about.command,
    )


def _answer(stored: bytes) -> Mapping[str, Json]:
    return typing.cast(Mapping[str, Json], json.loads(stored))


def _refusal(names: str, about: Mapping[str, Json], output: str, stage: Stage) -> BadParameter:
    said = str(about.get("message", ""))
    for name, inside in stage.places.items():
        said, output = said.replace(inside, name), output.replace(inside, name)
    lines = [said if about.get("usage") else f"{names}: {about['error']}: {said}"]
    if _MISSING in said or about["error"] == _MISSING:
        has = ", ".join(f"{name} {version}" for name, version in interpreter().versions.items())
        lines.append(f"An entry may import the standard library and: {has}")
    return BadParameter("\n".join([*lines, *([output.strip()] if output.strip() else [])]))


def _description(spec: Spec, about: Mapping[str, Json]) -> Description:
    """Return an entry's words as a description. Raises `BadParameter` for words that no player could say."""
    try:
        for name, allowed in _WORDS.items():
            said = about.get(name, [])
            if not (isinstance(said, list) and allowed.issuperset(map(str, said))):
                message = f"{name} = {said!r}; allowed are {', '.join(sorted(allowed))}"
                raise ValueError(message)
        completed = outside(about["spec"], places_of(spec))
        if completed.full_name.split("@")[0] != _resolved_name(spec) or set(entries_in(completed)) != _folders(spec):
            message = f"it calls itself {completed.full_name!r}"
            raise ValueError(message)
        values = {name: frozenset(typing.cast(list[str], about.get(name, []))) for name in _WORDS}
        sweep = typing.cast("list[typing.Any] | None", about.get("sweep"))
        return Description(
            spec=with_digests(completed),
            resolved=str(about["resolved"]),
            sources=str(about["sources"]),
            about=str(about.get("about", "")),
            parameters={
                str(key): str(value) for key, value in typing.cast(dict[str, Json], about["parameters"]).items()
            },
            least_budget=_whole(about.get("least_budget", 1)),
            suits_every_task=about.get("suits_every_task") is not False,
            detection_delay=_whole(about.get("detection_delay", 0)) or 0,
            promise=from_json(Promise, about.get("promise", {})),
            sweep=None if sweep is None else (str(sweep[0]), tuple(map(float, sweep[1]))),
            replaces_victim=about.get("replaces_victim") is True,
            **values,  # type: ignore[arg-type]  # checked above
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        message = f"{spec.name}: the entry describes itself as no player can: {error}"
        raise BadParameter(message) from error


def _whole(value: Json) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    message = f"{value!r} is no whole number"
    raise ValueError(message)


def with_digests(spec: Spec) -> Spec:
    """Return a spec with the digest of every entry in it, taken from its files here."""

    def of(value: Parameter) -> Parameter:
        if isinstance(value, tuple):
            return tuple(of(item) for item in value)
        return with_digests(value) if isinstance(value, Spec) else value

    folder = entry_folder(spec.name)
    params = tuple((key, of(value)) for key, value in spec.params)
    return replace(spec, params=params, digest=folder_digest(folder) if folder is not None else "")


def _without_places(spec: Spec) -> Spec:
    """Return a spec in which an entry is not named by where it is."""
    from_places = {name: f"entry {place}" for place, name in enumerate(dict.fromkeys(entries_in(spec)))}
    return _renamed(spec, from_places)


def _renamed(spec: Spec, names: Mapping[str, str]) -> Spec:
    def of(value: Parameter) -> Parameter:
        if isinstance(value, tuple):
            return tuple(of(item) for item in value)
        return _renamed(value, names) if isinstance(value, Spec) else value

    params = tuple((key, of(value)) for key, value in spec.params)
    return replace(spec, name=names.get(spec.name, spec.name), params=params, digest="")


def _resolved_name(spec: Spec) -> str:
    folder = entry_folder(spec.name)
    return str(folder) if folder is not None else spec.name


def _folders(spec: Spec) -> set[str]:
    return {str(Path(name).expanduser().resolve()) for name in entries_in(spec)}
