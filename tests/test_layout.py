"""What keeps the layout: every package stands in the import contracts, and the public names are these."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import arena

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
MAY_IMPORT = {"ray": {"cluster"}, "grpc": {"rpc", "proto"}, "mlflow": {"tracking"}, "prometheus_client": {"runs"}}


def parts_of_the_package() -> set[str]:
    """The packages and modules right below ``arena``."""
    found = {path.parent.name for path in (ROOT / "arena").glob("*/__init__.py")}
    return found | {path.stem for path in (ROOT / "arena").glob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("service", MAY_IMPORT)
def test_every_part_of_the_package_is_forbidden_the_service_that_is_not_its_own(service: str):
    (contract,) = [one for one in CONTRACTS if one.get("forbidden_modules") == [service]]
    listed = {name.removeprefix("arena.") for name in contract["source_modules"]}
    assert listed == parts_of_the_package() - MAY_IMPORT[service]


def test_every_part_of_the_package_has_a_layer():
    (layers,) = [one for one in CONTRACTS if one["type"] == "layers"]
    placed = {name.strip() for layer in layers["layers"] for name in layer.split("|")}
    assert placed | set(layers["exhaustive_ignores"]) == parts_of_the_package()


def test_the_public_names_are_these():
    assert arena.__all__ == ["Protected", "__version__", "protect", "results"]
    assert all(hasattr(arena, name) for name in arena.__all__)
