"""TLS between attacks and oracles: what either side needs to know of the other, from files or from a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from arena.contracts import BadParameter

AUTHORITY_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE = "ARENA_TLS_CA", "ARENA_TLS_CERT", "ARENA_TLS_KEY"


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A certificate, with those that lead to its authority, and its private key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> KeyPair:
        """Return the pair in two files. Raises `BadParameter` if they cannot be read or do not belong together."""
        from arena.rpc.certificates import check_pair  # sandboxed attacks, which read no file, do without its library

        pair = cls(certificate=_read(certificate), key=_read(key))
        check_pair(pair, certificate=certificate, key=key)
        return pair


@dataclass(frozen=True, kw_only=True)
class ServerTls:
    """The certificate of a server, and the authority of its clients; None: any client may connect with a token."""

    pair: KeyPair
    clients: bytes | None = None

    @property
    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(self.pair.key, self.pair.certificate)],
            root_certificates=self.clients,
            require_client_auth=self.clients is not None,
        )


@dataclass(frozen=True, kw_only=True)
class ClientTls:
    """The authority that must have signed a server's certificate, and the client's own certificate, if it needs one.

    ``authority`` None stands for the authorities that this machine trusts, and ``server_name`` None for the name in the
    address.
    """

    authority: bytes | None = None
    pair: KeyPair | None = None
    server_name: str | None = None

    @classmethod
    def of_environment(cls) -> ClientTls | None:
        """Return what ``ARENA_TLS_CA``, ``ARENA_TLS_CERT`` and ``ARENA_TLS_KEY`` say, files in PEM; None: no TLS.

        Raises `BadParameter` if a file cannot be used.
        """
        authority, certificate, key = (
            os.environ.get(name) for name in (AUTHORITY_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE)
        )
        if bool(certificate) != bool(key):
            message = f"{CERTIFICATE_VARIABLE} and {KEY_VARIABLE} belong together: set both, or neither"
            raise BadParameter(message)
        if not authority and not certificate:
            return None
        pair = KeyPair.read(Path(certificate), Path(key)) if certificate and key else None
        return cls(authority=_read(Path(authority)) if authority else None, pair=pair)

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        pair = self.pair
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority,
            private_key=pair.key if pair else None,
            certificate_chain=pair.certificate if pair else None,
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise BadParameter(message) from error
