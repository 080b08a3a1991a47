"""Certificates that a run makes for itself, and the check of those of an operator.

A run has an authority of its own, which signs one certificate for all of its oracle hosts and one for all of its attack
slots. Both sides check the other's against it, so that neither can be somebody else on the network. The certificates
name roles and not addresses, because an actor's address is not known before it runs.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from arena.contracts import BadParameter
from arena.rpc.tls import ClientTls, KeyPair, ServerTls

ORACLE_NAME, ATTACK_NAME = "oracle.arena.internal", "attack.arena.internal"
VALID_BEFORE = datetime.timedelta(days=2)  # the clocks of nodes may be hours apart
VALID_AFTER = datetime.timedelta(days=366)


def check_pair(pair: KeyPair, *, certificate: Path, key: Path) -> None:
    """Raise `BadParameter` if a pair, read from two files, is not in PEM, or if the two do not belong together."""
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
