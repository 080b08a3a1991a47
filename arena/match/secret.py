"""The secret that is mixed into the referee's and the defense's randomness, so that no player can predict either.

Seeds are small and their derivation is public, so an attack can find the seed of its match from its own generator.
What the referee and the defense draw therefore also depends on a secret: the installation's own, or one that a
tournament's file states in public so that everybody can replay the tournament.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from torch import Generator

from arena.contracts import BadParameter
from arena.learning.randomness import generator
from arena.oracle.ledger import OWNER_ALONE

SECRET_VARIABLE = "ARENA_SECRET_FILE"
SECRET_BYTES = 32


@dataclass(frozen=True)
class Secret:
    """A secret. It is never printed, but its digest may be; the empty secret is public and changes no randomness."""

    value: bytes = field(default=b"", repr=False)

    @classmethod
    def stated(cls, words: str) -> Secret:
        """Return the secret that a tournament's file states."""
        return cls(hashlib.blake2b(words.encode(), digest_size=SECRET_BYTES).digest() if words else b"")

    @property
    def digest(self) -> str:
        """16 hex digits that identify a secret without revealing it."""
        return hashlib.blake2b(b"arena secret\0" + self.value, digest_size=8).hexdigest()

    def generator(self, seed: int, *role: str | int) -> Generator:
        """Return the generator for a role of the referee or the defense; see `arena.learning.randomness.generator`."""
        return generator(seed, *role, secret=self.value)


PUBLIC = Secret()


def secret_file() -> Path:
    """Return the file that ``ARENA_SECRET_FILE`` names, by default ``arena/secret`` in the user's settings folder."""
    named = os.environ.get(SECRET_VARIABLE)
    settings = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser()
    return Path(named) if named else settings / "arena" / "secret"


def installation_secret() -> Secret:
    """Return the secret of this installation, which is made once, so that later runs can reuse results.

    Only its owner can read the file. Raises `BadParameter` if the file cannot be made or read, or holds no secret.
    """
    path = secret_file()
    try:
        _make_once(path)
        value = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        message = (
            f"the secret file of this installation, {path}, cannot be used: {error}; mend or remove it, or set "
            f"{SECRET_VARIABLE} to another file"
        )
        raise BadParameter(message) from error
    if len(value) < SECRET_BYTES:
        message = (
            f"the secret in {path} has {len(value)} bytes; it must have {SECRET_BYTES}, written in hex. "
            "Remove the file to get a fresh one"
        )
        raise BadParameter(message)
    return Secret(value)


def _make_once(path: Path) -> None:
    """Write a fresh secret in one step, unless there is one: of two processes, one makes it and both use it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(partial, "x", opener=lambda name, flags: os.open(name, flags, OWNER_ALONE)) as file:
        file.write(secrets.token_hex(SECRET_BYTES))
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
