"""Connections between strangers: who is believed, who is refused, and how that is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch

from arena.contracts import BadParameter, NotAuthorised, ServiceUnreachable, UsageError
from arena.oracle.ledger import MemoryLedger
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.rpc.certificates import ATTACK_NAME, ORACLE_NAME, RunTls
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.errors import from_status
from arena.rpc.server import OracleServer, serving
from arena.rpc.tls import ClientTls, KeyPair, ServerTls
from tests.oracle.responders import TASK, CountingResponder

RUN, OTHER_RUN = RunTls.make(), RunTls.make()
ANYWHERE = "0.0.0.0"  # other machines could reach it


@pytest.fixture
def server() -> Iterator[OracleServer]:
    with serving(ANYWHERE, tls=RUN.server) as started:
        yield started


def ask(server: OracleServer, tls: ClientTls | None) -> int:
    """Ask one row of a fresh match, and return what is left of its budget of 5."""
    session = Session(OracleTerms(task=TASK, budget=5), responder=CountingResponder(), ledger=MemoryLedger(budget=5))
    address = server.address.replace(ANYWHERE, "127.0.0.1")
    with Connection(address, server.open(session), tls=tls, tries=2, sleep=lambda seconds: None) as connection:
        oracle = RemoteOracle(connection)
        oracle.query(torch.zeros(1, *TASK.shape))
        return oracle.remaining


def test_a_run_s_own_attack_is_answered(server: OracleServer):
    assert ask(server, RUN.client) == 4


def test_a_server_of_another_run_is_refused_at_once_and_gets_no_token(server: OracleServer):
    with pytest.raises(NotAuthorised, match="certificate is not one that this client trusts"):
        ask(server, OTHER_RUN.client)


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(None, id="no TLS at all"),
        pytest.param(ClientTls(authority=RUN.client.authority, server_name=ORACLE_NAME), id="no certificate"),
        pytest.param(
            ClientTls(authority=RUN.client.authority, pair=OTHER_RUN.client.pair, server_name=ORACLE_NAME),
            id="a certificate of another run",
        ),
    ],
)
def test_a_client_without_the_run_s_certificate_is_refused(server: OracleServer, client: ClientTls | None):
    with pytest.raises((ServiceUnreachable, NotAuthorised), match="a certificate of this client that it trusts"):
        ask(server, client)


def test_an_attack_s_certificate_cannot_stand_for_an_oracle():
    impostor = ServerTls(pair=RUN.client.pair)
    trusting = ClientTls(authority=RUN.client.authority, server_name=ATTACK_NAME)
    with serving(tls=impostor) as server, pytest.raises(NotAuthorised, match="is not one that this client trusts"):
        ask(server, trusting)


def test_a_server_without_tls_is_refused_by_a_client_that_wants_it():
    with serving() as server, pytest.raises(NotAuthorised, match="or the server uses no TLS"):
        ask(server, RUN.client)


def test_without_tls_other_machines_are_let_in_only_on_request():
    with pytest.raises(UsageError, match="--insecure-bind"), serving(ANYWHERE):
        pass
    with serving(ANYWHERE, exposed=True) as server:
        assert ask(server, None) == 4


def test_keys_are_not_shown():
    assert b"PRIVATE" in RUN.server.pair.key
    assert "PRIVATE" not in repr(RUN)


class TestFiles:
    """Certificates of an operator, for `arena serve` and its clients."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        assert RUN.client.authority is not None
        contents = {
            "cert": RUN.server.pair.certificate,
            "key": RUN.server.pair.key,
            "other-key": OTHER_RUN.server.pair.key,
            "ca": RUN.client.authority,
        }
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "garbage").write_bytes(b"nothing")
        return {name: tmp_path / name for name in (*contents, "garbage", "missing")}

    def test_a_pair_is_read(self, files: dict[str, Path]):
        assert KeyPair.read(files["cert"], files["key"]) == RUN.server.pair

    @pytest.mark.parametrize(
        ("certificate", "key", "said"),
        [
            ("garbage", "key", "garbage is not a certificate in PEM"),
            ("cert", "garbage", "garbage is not a private key in PEM"),
            ("cert", "other-key", "is not the private key of the certificate"),
            ("missing", "key", "cannot read"),
        ],
    )
    def test_a_pair_that_cannot_serve_is_refused(self, files: dict[str, Path], certificate: str, key: str, said: str):
        with pytest.raises(BadParameter, match=said):
            KeyPair.read(files[certificate], files[key])

    def test_the_environment_names_what_a_client_trusts(self, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
        assert ClientTls.of_environment() is None
        monkeypatch.setenv("ARENA_TLS_CA", str(files["ca"]))
        assert ClientTls.of_environment() == ClientTls(authority=RUN.client.authority)
        monkeypatch.setenv("ARENA_TLS_CERT", str(files["cert"]))
        with pytest.raises(BadParameter, match="belong together"):
            ClientTls.of_environment()
        monkeypatch.setenv("ARENA_TLS_KEY", str(files["key"]))
        assert ClientTls.of_environment() == ClientTls(authority=RUN.client.authority, pair=RUN.server.pair)


def test_other_failures_to_connect_are_not_taken_for_a_lack_of_trust():
    error = from_status(grpc.StatusCode.UNAVAILABLE, "failed to connect: Connection refused", ())
    assert type(error) is ServiceUnreachable
    assert "TLS" not in str(error)
