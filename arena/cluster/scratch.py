"""The folder for all that a cluster on this machine writes, which is gone afterwards, also if its owner was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PLACE, PREFIX = Path("/tmp"), "ray-"  # a short path, because the folder holds sockets
LOCK = ".in-use"  # locked for as long as the folder's owner lives


@dataclass(frozen=True, eq=False)
class Scratch:
    """A folder of this process alone."""

    path: Path
    lock: BinaryIO

    @classmethod
    def make(cls) -> Scratch:
        """Return a new folder, and remove those whose owners ended without removing them."""
        remove_abandoned(PLACE)
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
        lock = (path / f"{LOCK}.new").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (path / f"{LOCK}.new").rename(path / LOCK)  # locked already when another process first sees it
        return cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def remove_abandoned(place: Path) -> None:
    """Remove the folders of this user whose owner does not live any more."""
    for path in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (path / LOCK).open("rb") as file:  # no lock: the folder is not one of ours
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
