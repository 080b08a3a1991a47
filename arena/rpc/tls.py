"""TLS between attacks and oracles: certificates that a run makes for itself, and those of an operator.

A run has an authority of its own, which signs one certificate for all of its oracle hosts and one for all of its attack
slots. Both sides check the other's against it, so that neither can be somebody else on the network. The certificates
name roles and not addresses, because an actor's address is not known before it runs.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from arena.contracts import BadParameter

ORACLE_NAME, ATTACK_NAME = "oracle.arena.internal", "attack.arena.internal"
VALID_BEFORE = datetime.timedelta(days=2)  # the clocks of nodes may be hours apart
VALID_AFTER = datetime.timedelta(days=366)

AUTHORITY_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE = "ARENA_TLS_CA", "ARENA_TLS_CERT", "ARENA_TLS_KEY"


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A certificate, with those that lead to its authority, and its private key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> KeyPair:
        """Return the pair in two files. Raises `BadParameter` if they cannot be read or do not belong together."""
        pair = cls(certificate=_read(certificate), key=_read(key))
        try:
            certified = x509.load_pem_x509_certificate(pair.certificate).public_key()
        except ValueError as error:
            message = f"{certificate} is not a certificate in PEM: {error}"
            raise BadParameter(message) from error
        try:
            own = serialization.load_pem_private_key(pair.key, password=None).public_key()
        except (ValueError, TypeError) as error:
            message = f"{key} is not a private key in PEM without a password: {error}"
            raise BadParameter(message) from error
        if certified != own:
            message = f"{key} is not the private key of the certificate {certificate}"
            raise BadParameter(message)
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


@dataclass(frozen=True, kw_only=True)
class RunTls:
    """The certificates of a run: what its oracle hosts and its attack slots need to know each other."""

    server: ServerTls
    client: ClientTls

    @classmethod
    def make(cls) -> RunTls:
        """Return certificates of a fresh authority, whose key is forgotten at once: nobody can sign another one."""
        signing = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "arena run")])
        root = _builder(name, name, signing.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        authority = root.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        oracle = _signed(ORACLE_NAME, ExtendedKeyUsageOID.SERVER_AUTH, issuer=name, signing=signing)
        attack = _signed(ATTACK_NAME, ExtendedKeyUsageOID.CLIENT_AUTH, issuer=name, signing=signing)
        return cls(
            server=ServerTls(pair=oracle, clients=authority),
            client=ClientTls(authority=authority, pair=attack, server_name=ORACLE_NAME),
        )


def _signed(name: str, usage: ObjectIdentifier, *, issuer: x509.Name, signing: ec.EllipticCurvePrivateKey) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, issuer, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return KeyPair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_BEFORE)
        .not_valid_after(now + VALID_AFTER)
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise BadParameter(message) from error
