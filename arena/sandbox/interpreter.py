"""Python for programs in a sandbox: the interpreter of this process, and of its packages only those that entries may use."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from arena.sandbox import agent_side
from arena.sandbox.job import Mount
from arena.version import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "safetensors",
    "grpcio",
    "protobuf",
    "packaging",
    "adversarial-robustness-toolbox",  # where it is installed
)
"""What entries may import besides the standard library and this package; what these need comes with them."""

LABELLED_DATA = ("sklearn/datasets/data", "sklearn/datasets/images", "sklearn/datasets/descr", "sklearn/datasets/tests")
"""Folders of packages that hold data sets with labels, which an entry could be scored on."""

INSIDE = "/packages"
BASE = "/python"  # where an interpreter is mounted that is not below /usr
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """An interpreter and its packages as a sandbox mounts them; ``digest`` identifies what is installed."""

    program: str
    mounts: tuple[Mount, ...]
    hidden: tuple[str, ...]
    versions: Mapping[str, str]  # of the packages, by name
    digest: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which the interpreter is to run: one thread, and nothing that differs between runs."""
        return {
            "LD_LIBRARY_PATH": f"{BASE}/lib",  # of an interpreter that is built as a shared library
            "PYTHONPATH": INSIDE,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "2000000000",
            "MALLOC_TRIM_THRESHOLD_": "2000000000",
            "GRPC_VERBOSITY": "NONE",
        }

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """Return the command of a program in Python; no ``site`` module, which would add the host's packages."""
        return (self.program, "-S", "-s", *arguments)


@functools.cache
def interpreter(packages: Sequence[str] = PACKAGES) -> Interpreter:
    """Return this process's interpreter with some of its packages, and with this package."""
    versions = dict(sorted((name, importlib.metadata.version(name)) for name in _with_requirements(packages)))
    base, program = Path(sys.base_prefix).resolve(), Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # not in typeshed
    places = dict.fromkeys(place for name in versions for place in _places(name))
    mounts = [Mount(host=path, inside=f"{INSIDE}/{path.name}") for path in places]
    hidden = [f"{INSIDE}/{name}" for name in LABELLED_DATA if any((place.parent / name).is_dir() for place in places)]
    if not base.is_relative_to("/usr"):  # which every sandbox sees
        mounts.append(Mount(host=base, inside=BASE))
        own_packages = Path(sysconfig.get_path("purelib", vars={"base": str(base)}))
        hidden += [str(Path(BASE) / own_packages.relative_to(base))] if own_packages.is_dir() else []
    mounts.append(Mount(host=_PACKAGE, inside=f"{INSIDE}/{_PACKAGE.name}"))
    mounts.append(Mount(host=Path(agent_side.__file__), inside=f"{INSIDE}/{_PACKAGE.name}/__init__.py"))
    about = [f"python {sys.version}", f"arena {__version__}", *(f"{name} {versions[name]}" for name in versions)]
    records = [importlib.metadata.distribution(name).read_text("RECORD") or "" for name in versions]
    return Interpreter(
        program=str(program if base.is_relative_to("/usr") else Path(BASE) / program.relative_to(base)),
        mounts=tuple(mounts),
        hidden=tuple(hidden),
        versions=versions,
        digest=hashlib.blake2b("\0".join([*about, *records]).encode(), digest_size=8).hexdigest(),
    )


def _with_requirements(names: Sequence[str]) -> set[str]:
    """Return the names of installed packages and of all that they require, by the names that they give themselves."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        key = name.lower().replace("_", "-")
        if key not in found:
            try:
                distribution = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:  # an optional one, or for another platform
                continue
            found[key] = distribution.metadata["Name"]
            waiting += _required(distribution.requires or [])
    return set(found.values())


def _required(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _places(name: str) -> Iterator[Path]:
    """Yield the modules, packages and libraries of a distribution, without what only describes it."""
    distribution = importlib.metadata.distribution(name)
    roots = {Path(folder).resolve() for folder in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]}
    for first in sorted({file.parts[0] for file in distribution.files or []}):
        path = Path(str(distribution.locate_file(first)))
        described = first.endswith((".dist-info", ".egg-info", ".pth")) or first in ("..", "__pycache__")
        if not described and path.exists() and path.parent.resolve() in roots:
            yield path
