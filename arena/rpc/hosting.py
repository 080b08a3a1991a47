"""The matches that a server hosts, each under a token that is kept only as its hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field

from torch import Tensor

from arena.contracts import NotAuthorised
from arena.oracle.session import Session

_TOKEN_BYTES = 32


@dataclass(kw_only=True, eq=False)
class HostedMatch:
    """A session that is served, and what is offered beside its oracle to whoever joins."""

    session: Session
    pool: Tensor | None = None  # (M, *shape); None when data-free
    attack_seed: int = 0  # of the attack's own generator, from which nothing else of the match follows
    defense: str | None = None  # its spec as JSON; None when the attack plays blind
    ends_at: float | None = None  # on the monotonic clock
    clone: bytes | None = None
    handed_back: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds_left(self) -> float | None:
        return None if self.ends_at is None else self.ends_at - time.monotonic()


class HostedMatches:
    """Matches by token, for any thread; a token is a password for one match, and never logged."""

    def __init__(self) -> None:
        self._matches: dict[bytes, HostedMatch] = {}

    def add(self, match: HostedMatch, *, token: str | None = None) -> str:
        """Return the token under which a match is served: a fresh one, or that of a match that is opened again."""
        token = token or secrets.token_urlsafe(_TOKEN_BYTES)
        self._matches[_hash(token)] = match
        return token

    def find(self, token: str) -> HostedMatch:
        """Return the match of a token, whether its time is over or not. Raises `NotAuthorised`."""
        hashed = _hash(token)
        served = tuple(self._matches.items())  # at once: other threads add and remove
        found = [match for known, match in served if hmac.compare_digest(known, hashed)]
        if not found:
            raise _not_authorised()
        return found[0]

    def admit(self, authorization: str) -> HostedMatch:
        """Return the match that ``Bearer TOKEN`` opens. Raises `NotAuthorised`, the same words whatever is wrong."""
        scheme, _, token = authorization.partition(" ")
        match = self.find(token if scheme == "Bearer" else "")
        if match.seconds_left is not None and match.seconds_left <= 0:
            raise _not_authorised()
        return match

    def remove(self, token: str) -> None:
        """Revoke a token."""
        self._matches.pop(_hash(token), None)


def _not_authorised() -> NotAuthorised:
    return NotAuthorised("no token, a wrong one, or one whose match has ended")


def _hash(token: str) -> bytes:
    return hashlib.blake2b(token.encode(), digest_size=32).digest()
