"""The secret behind the referee's and the defense's randomness: whoever lacks it can predict neither.

Seeds are small and their derivation is public, so that an attack that sees its own generator can find the seed of its
match. What the referee and the defense draw also depends on a secret, which is that of this installation, or the one
that a tournament's file states in public so that everybody can replay it.
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
    """A secret, which is never printed; its digest may be. An empty one is public: nothing is mixed in."""

    value: bytes = field(default=b"", repr=False)

    @classmethod
    def stated(cls, words: str) -> Secret:
        """Return the secret that a tournament's file states."""
        return cls(hashlib.blake2b(words.encode(), digest_size=SECRET_BYTES).digest() if words else b"")

    @property
    def digest(self) -> str:
        """16 hex digits that tell one secret from another and give away neither."""
        return hashlib.blake2b(b"arena secret\0" + self.value, digest_size=8).hexdigest()

    def generator(self, seed: int, *role: str | int) -> Generator:
        """Return the generator of a role of the referee or the defense: see `arena.learning.randomness.generator`."""
        return generator(seed, *role, secret=self.value)


PUBLIC = Secret()


def secret_file() -> Path:
    """Return the file that ``ARENA_SECRET_FILE`` names, else one in the user's folder of settings."""
    named = os.environ.get(SECRET_VARIABLE)
    settings = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser()
    return Path(named) if named else settings / "arena" / "secret"


def installation_secret() -> Secret:
    """Return the secret of this installation: made once, readable by its owner alone, so that results can be reused.

    Raises `BadParameter` if its file cannot be made, cannot be read, or holds something else.
    """
    path = secret_file()
    try:
        _make_unless_there(path)
        value = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        message = (
            f"the secret of this installation, {path}, cannot be used: {error}; name another file: {SECRET_VARIABLE}"
        )
        raise BadParameter(message) from error
    if len(value) < SECRET_BYTES:
        message = f"{path} holds {len(value)} bytes in hex, and a secret has {SECRET_BYTES}; remove it to have one made"
        raise BadParameter(message)
    return Secret(value)


def _make_unless_there(path: Path) -> None:
    """Write a fresh secret in one step: of two processes at once, one makes it and both use it."""
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
