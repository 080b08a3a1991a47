"""Trained artefacts by the hash of everything that determines them; a file appears whole or not at all."""

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
    """A folder of ``<key>.safetensors``; keys are hex digests with a word in front."""

    folder: Path

    def get(self, key: str) -> bytes | None:
        """Return the bytes stored under ``key``, None if there are none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Store ``data``; an interrupted write leaves nothing under the key."""
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
        """Return what is stored under ``key``, making it first if need be; of several processes one makes it."""
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
        """Hold the key's lock; the kernel frees it when its process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{key}.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
