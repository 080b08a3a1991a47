"""Trained artefacts, stored under a hash of all that determines them; a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A folder of files ``<key>.safetensors``; a key is a word followed by a hex digest, such as ``victim-1f2e``."""

    folder: Path

    def get(self, key: str) -> bytes | None:
        """Return the bytes stored under ``key``, or None."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``; an interrupted write stores nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=f".{key}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path(key))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def once(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return what is stored under ``key``, made first if necessary; of several processes, only one makes it."""
        stored = self.get(key)
        if stored is not None:
            return stored
        with self._locked(key):
            stored = self.get(key)
            if stored is None:
                stored = make()
                self.put(key, stored)
        return stored

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock, which the kernel releases if the process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{key}.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
