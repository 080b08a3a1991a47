"""Programs beside Python that some tests need; such a test is skipped where one is missing, and says which.

A test has the marker of its suite as well (``chromium``, ``postgres``, ``slurm``, ``buildah``, ``bubblewrap``), by which
``make test-programs`` finds it.
"""

from __future__ import annotations

import shutil

import pytest


def needs(*programs: str, package: str) -> pytest.MarkDecorator:
    """Skip a test where one of its programs is not on the path; ``package`` is the Debian package that has them."""
    reason = why_not(*programs, package=package)
    return pytest.mark.skipif(bool(reason), reason=reason)


def why_not(*programs: str, package: str) -> str:
    """Return which programs are missing and what to install; empty if all are there."""
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not on the path: {', '.join(missing)}; install {package}" if missing else ""
