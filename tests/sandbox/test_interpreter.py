from __future__ import annotations

import pytest

from arena.sandbox.interpreter import interpreter
from arena.sandbox.job import Ended, Job
from tests.sandbox.boxes import BUBBLEWRAP, needs_bubblewrap


def run(code: str) -> Ended:
    python = interpreter()
    job = Job(argv=python.argv("-c", code), mounts=python.mounts, hidden=python.hidden, environment=python.environment)
    return BUBBLEWRAP.start(job).wait()


def test_what_is_installed_is_named_and_identified():
    python = interpreter()
    assert {"torch", "numpy", "scipy", "scikit-learn", "grpcio", "safetensors"} <= set(python.versions)
    assert not {"ray", "mlflow", "matplotlib"} & set(python.versions)
    assert interpreter(("numpy",)).digest != python.digest
    assert len(python.digest) == 16


class TestInside:
    pytestmark = needs_bubblewrap

    def test_the_packages_of_entries_can_be_imported(self):
        ended = run("import torch, grpc, safetensors.torch, arena.contracts; print(torch.get_num_threads())")
        assert (ended.result, ended.output) == (b"1\n", "")

    @pytest.mark.parametrize("name", ["ray", "mlflow", "matplotlib", "pytest", "pip"])
    def test_other_packages_cannot(self, name: str):
        ended = run(f"import {name}")
        assert ended.output.splitlines()[-1] == f"ModuleNotFoundError: No module named '{name}'"

    def test_no_labelled_data_are_there(self):
        ended = run("import pathlib; print([*pathlib.Path('/packages/sklearn/datasets/data').iterdir()])")
        assert ended.result == b"[]\n"
