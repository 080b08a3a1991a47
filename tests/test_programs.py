from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.programs import needs, why_not

ROOT = Path(__file__).parents[1]
SUITES = {"chromium", "postgres", "slurm", "buildah", "bubblewrap"}


def test_a_missing_program_is_named_with_what_to_install():
    assert why_not("sh", "no-such-program", "nor-this", package="programs") == (
        "not on the path: no-such-program, nor-this; install programs"
    )


def test_nothing_is_said_where_every_program_is():
    assert why_not("sh", "env", package="coreutils") == ""


def test_a_test_is_skipped_for_that_reason_or_not_at_all():
    without = needs("no-such-program", package="programs")
    assert (without.name, without.args) == ("skipif", (True,))
    assert without.kwargs == {"reason": why_not("no-such-program", package="programs")}
    assert needs("sh", package="dash").args == (False,)


def test_every_suite_has_a_marker_and_is_run_by_make():
    """A misspelt marker in the selection would be no error: it would select nothing."""
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    assert {line.partition(":")[0] for line in markers} >= SUITES
    (selection,) = re.findall(r"^PROGRAMS := (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(selection.split(" or ")) == SUITES
