"""The matches that a server hosts, each identified by a token of which only the hash is stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field

from torch import Tensor

from arena.contracts import NotAuthorised
from arena.oracle.relayed import RelayedSession
from arena.oracle.session import Session

_TOKEN_BYTES = 32


@dataclass(kw_only=True, eq=False)
class HostedMatch:
    """A session that is served, and what else its client is given."""

    session: Session | RelayedSession
    pool: Tensor | None = None  # (M, *shape); None if the match is data-free
    attack_seed: int = 0  # the seed of the attack's own generator, which reveals no other randomness of the match
    defense: str | None = None  # its spec as JSON; None in a blind match
    ends_at: float | None = None  # on the monotonic clock; None: no limit
    clone: bytes | None = None
    handed_back: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds_left(self) -> float | None:
        return None if self.ends_at is None else self.ends_at - time.monotonic()


class HostedMatches:
    """Matches by token; any thread may call it. A token is a password for one match, and is never logged."""

    def __init__(self) -> None:
        self._matches: dict[bytes, HostedMatch] = {}

    def add(self, match: HostedMatch, *, token: str | None = None) -> str:
        """Serve a match under ``token``, or under a fresh one, and return it; a reopened match keeps its token."""
        token = token or secrets.token_urlsafe(_TOKEN_BYTES)
        self._matches[_hash(token)] = match
        return token

    def find(self, token: str) -> HostedMatch:
        """Return the match of a token, even if its time is over. Raises `NotAuthorised`."""
        hashed = _hash(token)
        served = tuple(self._matches.items())  # a copy, because other threads add and remove matches
        found = [match for known, match in served if hmac.compare_digest(known, hashed)]
        if not found:
            raise _not_authorised()
        return found[0]

    def admit(self, authorization: str) -> HostedMatch:
        """Return the match of ``Bearer TOKEN``. Raises `NotAuthorised`, which does not say what is wrong."""
        scheme, _, token = authorization.partition(" ")
        match = self.find(token if scheme == "Bearer" else "")
        if match.seconds_left is not None and match.seconds_left <= 0:
            raise _not_authorised()
        return match

    def remove(self, token: str) -> None:
        """Revoke a token."""
        self._matches.pop(_hash(token), None)


def _not_authorised() -> NotAuthorised:
    return NotAuthorised("the call has no token, a wrong token, or the token of a match that has ended")


def _hash(token: str) -> bytes:
    return hashlib.blake2b(token.encode(), digest_size=32).digest()
