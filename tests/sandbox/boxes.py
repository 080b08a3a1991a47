"""The sandbox that tests use, and small programs in it."""

from __future__ import annotations

import pytest

from arena.sandbox.bubblewrap import Bubblewrap
from arena.sandbox.job import BoxLimits, Ended, Job
from tests.programs import needs

needs_bubblewrap = [pytest.mark.bubblewrap, needs("bwrap", "setpriv", package="bubblewrap and util-linux")]
"""The marks of a test that starts sandboxes."""

BUBBLEWRAP = Bubblewrap()
USUAL = BoxLimits()


def shell(script: str, *, stdin: bytes = b"", limits: BoxLimits = USUAL) -> Ended:
    """Run a shell script in a sandbox."""
    return BUBBLEWRAP.start(Job(argv=("/bin/sh", "-c", script), stdin=stdin, limits=limits)).wait()
