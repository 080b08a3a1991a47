"""The client: what it repeats, what it gives up, and playing a whole match from outside."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import torch

from arena.contracts import (
    AttackFault,
    DeadlinePassed,
    InvalidQuery,
    NotAuthorised,
    ServiceUnreachable,
    Task,
)
from arena.learning import compact
from arena.learning.architectures import build
from arena.learning.compact import CompactRows
from arena.match.clones import pack_clone
from arena.proto.v1 import oracle_pb2
from arena.rpc.client import Connection, RemoteMatch, RemoteOracle
from arena.rpc.server import OracleServer, serving
from tests.oracle.responders import TASK, CountingResponder, batch, inputs
from tests.rpc.test_server import MESSAGE_LIMIT, session


@pytest.fixture(scope="module")
def server() -> Iterator[OracleServer]:
    with serving(server=OracleServer(max_message_bytes=MESSAGE_LIMIT)) as running:
        yield running


class TestRetries:
    def test_the_client_repeats_a_call_under_its_request_id(self, server: OracleServer):
        hosted = session()
        pauses: list[float] = []
        with Connection(server.address, server.open(hosted), sleep=pauses.append) as connection:
            oracle = RemoteOracle(connection)
            stub = oracle._stub
            sent: list[bytes] = []

            class Unreliable:
                Query = staticmethod(lambda message, **options: lose_twice(message, **options))

            def lose_twice(message: oracle_pb2.QueryRequest, **options):
                sent.append(message.request_id)
                response = stub.Query(message, **options)
                if len(sent) <= 2:
                    raise lost_answer()
                return response

            oracle._stub = Unreliable()
            answer = oracle.query(inputs(3))
        assert torch.equal(answer.posteriors, CountingResponder()(batch(3)).posteriors)
        assert (len(sent), len(set(sent)), len(pauses), hosted.remaining) == (3, 1, 2, 97)
        assert all(0 < pause <= 5 for pause in pauses)

    def test_the_client_gives_up_on_a_server_that_is_not_there(self):
        connection = Connection("127.0.0.1:1", "token", tries=3, sleep=lambda seconds: None)
        with connection, pytest.raises(ServiceUnreachable):
            RemoteOracle(connection)

    def test_the_client_stops_when_its_time_is_over(self):
        seconds = iter([1.0, 1.0, 0.0])
        connection = Connection("127.0.0.1:1", "token", time_left=lambda: next(seconds), sleep=lambda seconds: None)
        with connection, pytest.raises(DeadlinePassed):
            RemoteOracle(connection)


def lost_answer() -> grpc.RpcError:
    class Lost(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> str:
            return "connection reset"

        def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
            return ()

    return Lost()


def clone(task: Task = TASK, *, seed: int = 0) -> bytes:
    """A clone of 170 kB or more: several parts on the wire."""
    return pack_clone(build("mlp-8192", task, rng=torch.Generator().manual_seed(seed)))


def test_an_oracle_is_reached_directly_whatever_proxy_the_environment_names(
    server: OracleServer, monkeypatch: pytest.MonkeyPatch
):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Connection(server.address, server.open(session()), tries=1) as connection:
        assert RemoteOracle(connection).query(inputs(2)).posteriors.shape == (2, 3)


class TestPlayingFromOutside:
    def test_joins_fetches_the_pool_in_parts_and_hands_back_a_clone(
        self, server: OracleServer, monkeypatch: pytest.MonkeyPatch
    ):
        pool = torch.rand(30_000, 2)
        token = server.open(session(), pool=pool, attack_seed=9, defense='{"name": "none"}', seconds=60)
        with Connection(server.address, token) as connection:
            match = RemoteMatch(connection)
            assert (match.seed, match.pool_rows, match.defense) == (9, 30_000, '{"name": "none"}')
            assert 0 < match.time_left() <= 60
            assert torch.equal(match.fetch_pool(TASK), pool)
            monkeypatch.setattr(compact, "PLAIN_BYTES", 0)
            fetched = match.fetch_pool(TASK)
            assert isinstance(fetched, CompactRows)
            assert torch.equal(fetched, pool)
            match.hand_back(clone(seed=0))
            match.hand_back(clone(seed=1))
        assert server.clone(token, timeout=20) == clone(seed=1)

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "of 8 to"),
            (b"no safetensors at all", "claims"),
            (clone()[:-8], "do not match its header"),
            (clone(Task(shape=(9,), classes=3)), "it must be F32"),
        ],
        ids=["empty", "other-bytes", "cut-off", "of-another-task"],
    )
    def test_is_told_at_once_what_is_wrong_with_its_clone_and_may_hand_back_another(
        self, server: OracleServer, data: bytes, said: str
    ):
        token = server.open(session())
        with Connection(server.address, token) as connection:
            match = RemoteMatch(connection)
            with pytest.raises(AttackFault, match=said):
                match.hand_back(data)
            with pytest.raises(TimeoutError):
                server.clone(token, timeout=0)
            match.hand_back(clone())
        assert server.clone(token, timeout=20) == clone()

    def test_a_data_free_match_has_no_pool_and_a_blind_one_no_defense(self, server: OracleServer):
        with Connection(server.address, server.open(session())) as connection:
            match = RemoteMatch(connection)
            assert match.fetch_pool(TASK).shape == (0, 2)
            assert (match.defense, match.time_left()) == (None, float("inf"))

    def test_a_match_that_is_over_takes_no_clone(self, server: OracleServer):
        token = server.open(session())
        with Connection(server.address, token) as connection:
            match = RemoteMatch(connection)
            server.close(token)
            with pytest.raises(NotAuthorised):
                match.hand_back(b"clone")


def test_a_clone_has_a_largest_size():
    with (
        serving(server=OracleServer(max_clone_bytes=10)) as server,
        Connection(server.address, server.open(session())) as connection,
        pytest.raises(AttackFault, match="at most 10 bytes"),
    ):
        RemoteMatch(connection).hand_back(b"x" * 11)


def test_an_invalid_query_is_refused_by_the_client_before_it_is_sent(server: OracleServer):
    token = server.open(session())
    with Connection(server.address, token) as connection, pytest.raises(InvalidQuery):
        RemoteOracle(connection).query(torch.rand(1, 3))
