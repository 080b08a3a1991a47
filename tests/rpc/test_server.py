"""The server against clients that are wrong, lost, many or strange."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from arena.contracts import (
    Answer,
    BadParameter,
    BudgetExhausted,
    Overloaded,
    QueryBatch,
    RequestConflict,
    Task,
    UsageError,
)
from arena.learning.architectures import build
from arena.match.clones import pack_clone
from arena.oracle.ledger import MemoryLedger
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms
from arena.proto.v1 import match_pb2, match_pb2_grpc, oracle_pb2, oracle_pb2_grpc, tensor_pb2
from arena.rpc.client import Connection, RemoteMatch, RemoteOracle
from arena.rpc.codec import query_to_message
from arena.rpc.errors import REASON, from_status
from arena.rpc.server import OracleServer, serving
from tests.oracle.responders import TASK, CountingResponder, batch, inputs, key
from tests.oracle.test_session import MirroringScript

MESSAGE_LIMIT = 200_000
FLOAT32, UINT8 = tensor_pb2.Tensor.DTYPE_FLOAT32, tensor_pb2.Tensor.DTYPE_UINT8


def session(*, budget: int = 100, **options) -> Session:
    ledger = MemoryLedger(budget=budget)
    return Session(
        OracleTerms(task=TASK, budget=budget, max_rows=8), responder=CountingResponder(), ledger=ledger, **options
    )


@pytest.fixture(scope="module")
def server() -> Iterator[OracleServer]:
    with serving(server=OracleServer(max_message_bytes=MESSAGE_LIMIT)) as running:
        yield running


@pytest.fixture
def channel(server: OracleServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def tensor(*shape: int, data: bytes, dtype: int = FLOAT32) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=shape, dtype=dtype, data=data)


def request(message: tensor_pb2.Tensor | None = None, **fields) -> oracle_pb2.QueryRequest:
    good = tensor(1, 2, data=b"\0" * 2, dtype=UINT8)
    return oracle_pb2.QueryRequest(**{"request_id": key(1), "inputs": message or good, **fields})


NAN, TWO = bytes.fromhex("0000c07f"), bytes.fromhex("00000040")

BAD_REQUESTS = {
    "an empty message": (oracle_pb2.QueryRequest(), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "no request id": (request(request_id=b""), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "a long request id": (request(request_id=b"k" * 17), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "another shape": (request(tensor(1, 3, data=b"\0" * 12)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "no rows dimension": (request(tensor(2, data=b"\0" * 8)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "no dimension": (request(tensor(data=b"\0" * 4)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "many dimensions": (request(tensor(*[1] * 9, data=b"\0" * 4)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "too few bytes": (request(tensor(1, 2, data=b"\0" * 7)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "huge sizes": (request(tensor(2**32 - 1, 2**32 - 1, data=b"")), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "no dtype": (request(tensor(1, 2, data=b"\0" * 8, dtype=0)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "an unknown dtype": (request(tensor(1, 2, data=b"\0" * 8, dtype=9)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "NaN": (request(tensor(1, 2, data=NAN * 2)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "out of range": (request(tensor(1, 2, data=TWO * 2)), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "no rows": (request(tensor(0, 2, data=b"")), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "an unknown account": (request(account=1), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "an explanation": (request(explain=True), "INVALID_ARGUMENT", "INVALID_QUERY"),
    "too many rows": (request(tensor(9, 2, data=b"\0" * 18, dtype=UINT8)), "RESOURCE_EXHAUSTED", "QUERY_TOO_LARGE"),
    "an oversized message": (
        request(tensor(1, 2, data=b"\0" * MESSAGE_LIMIT)),
        "RESOURCE_EXHAUSTED",
        "QUERY_TOO_LARGE",
    ),
    "over budget": (request(tensor(6, 2, data=b"\0" * 12, dtype=UINT8)), "FAILED_PRECONDITION", "BUDGET_EXHAUSTED"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_refuses_a_bad_request_charges_nothing_and_lives_on(server: OracleServer, channel: grpc.Channel, name: str):
    message, code, reason = BAD_REQUESTS[name]
    hosted = session(budget=5)
    token = server.open(hosted)
    query = oracle_pb2_grpc.OracleServiceStub(channel).Query
    with pytest.raises(grpc.RpcError) as failure:
        query(message, metadata=bearer(token), timeout=20)
    assert failure.value.code().name == code
    assert dict(failure.value.trailing_metadata()).get(REASON) == reason
    assert hosted.remaining == 5
    query(request(), metadata=bearer(token), timeout=20)
    assert server.close(token).counts.spent == 1


def test_refuses_bytes_that_are_no_message(server: OracleServer, channel: grpc.Channel):
    token = server.open(session())
    query = channel.unary_unary("/arena.proto.v1.OracleService/Query")
    with pytest.raises(grpc.RpcError) as failure:
        query(b"\xff" * 50, metadata=bearer(token), timeout=20)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(failure.value.trailing_metadata())[REASON] == "INVALID_QUERY"
    assert server.close(token).counts.spent == 0


class TestTokens:
    @pytest.mark.parametrize("fault", ["none", "wrong", "expired", "revoked", "other scheme", "empty"])
    @pytest.mark.parametrize("method", ["Query", "Describe"])
    def test_a_token_that_is_not_valid_is_refused_in_the_same_words(
        self, server: OracleServer, channel: grpc.Channel, fault: str, method: str, caplog: pytest.LogCaptureFixture
    ):
        caplog.set_level(logging.DEBUG)
        hosted = session()
        token = server.open(hosted, seconds=-1 if fault == "expired" else None)
        metadata = {
            "none": (),
            "wrong": bearer("x" * 43),
            "other scheme": (("authorization", token),),
            "empty": bearer(""),
        }.get(fault, bearer(token))
        if fault == "revoked":
            server.close(token)
        stub = oracle_pb2_grpc.OracleServiceStub(channel)
        call = stub.Query if method == "Query" else stub.Describe
        with pytest.raises(grpc.RpcError) as failure:
            call(request() if method == "Query" else oracle_pb2.DescribeRequest(), metadata=metadata, timeout=20)
        assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert failure.value.details() == "the call has no token, a wrong token, or the token of a match that has ended"
        assert hosted.remaining == 100
        assert token not in caplog.text

    def test_each_match_has_its_own(self, server: OracleServer):
        first, second = session(), session()
        tokens = server.open(first), server.open(second)
        with Connection(server.address, tokens[1]) as connection:
            RemoteOracle(connection).query(inputs(3))
        assert (first.remaining, second.remaining) == (100, 97)


def test_ten_channels_overspend_nothing(server: OracleServer):
    hosted = session(budget=50, honest=MirroringScript())
    token = server.open(hosted)
    refusals = []

    def spend() -> None:
        with Connection(server.address, token) as connection:
            oracle = RemoteOracle(connection)
            for _ in range(10):
                try:
                    oracle.query(inputs(1))
                except BudgetExhausted as refusal:
                    refusals.append(refusal)

    clients = [threading.Thread(target=spend) for _ in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    transcript = server.close(token)
    assert (transcript.counts.rows, transcript.counts.calls, len(refusals)) == (50, 50, 50)
    assert [call.honest for call in transcript.calls] == [False, True] * 50 + [True]


CLONE = pack_clone(build("linear", TASK, rng=torch.Generator().manual_seed(0)))


class TestHalfOpenStreams:
    """A client that opens streams and sends nothing more."""

    @pytest.fixture
    def small(self) -> Iterator[OracleServer]:
        server = OracleServer(
            max_message_bytes=MESSAGE_LIMIT,
            max_concurrent_calls=4,
            max_concurrent_calls_a_match=2,
            seconds_to_hand_back=60,
        )
        with serving(server=server):
            yield server

    @contextlib.contextmanager
    def held_open(self, server: OracleServer, token: str, *, streams: int) -> Iterator[list[grpc.Future]]:
        over = threading.Event()

        def parts(begun: threading.Event) -> Iterator[match_pb2.HandBackRequest]:
            begun.set()
            yield match_pb2.HandBackRequest(chunk=b"half")
            over.wait(20)

        with own_channel(server) as channel:
            hand_back, calls = match_pb2_grpc.MatchServiceStub(channel).HandBack, []
            for _ in range(streams):
                begun = threading.Event()
                calls.append(hand_back.future(parts(begun), metadata=bearer(token)))
                assert begun.wait(20)
            for _ in range(2_000):  # until the server has as many as it takes, at most 20 seconds
                if server._admitted._under_way.total() >= min(streams, 2):
                    break
                over.wait(0.01)
            try:
                yield calls
            finally:
                over.set()
                for call in calls:
                    call.cancel()

    def test_never_starve_another_match(self, small: OracleServer):
        greedy, other = small.open(session()), small.open(session())
        with (
            self.held_open(small, greedy, streams=30) as calls,
            Connection(small.address, other, tries=1) as connection,
        ):
            assert RemoteOracle(connection).query(inputs(3)).posteriors.shape == (3, 3)
            RemoteMatch(connection).hand_back(CLONE)
            ended: queue.Queue[grpc.Future] = queue.Queue()
            for call in calls:
                call.add_done_callback(ended.put)
            refused = [ended.get(timeout=20) for _ in range(28)]  # any two of the streams may be the admitted ones
            assert {dict(call.trailing_metadata())[REASON] for call in refused} == {"OVERLOADED"}
            assert sum(call.done() for call in calls) == 28

    def test_leave_the_match_itself_its_queries_once_they_end(self, small: OracleServer):
        token = small.open(session())
        with (
            self.held_open(small, token, streams=2),
            Connection(small.address, token, tries=1) as connection,
            pytest.raises(Overloaded, match="try again"),
        ):
            RemoteOracle(connection)
        with Connection(small.address, token) as connection:
            assert RemoteOracle(connection).query(inputs(3)).posteriors.shape == (3, 3)

    def test_are_cut_off_when_their_time_is_over(self):
        server = OracleServer(max_message_bytes=MESSAGE_LIMIT, seconds_to_hand_back=0.2)
        with serving(server=server):
            token = server.open(session())
            with self.held_open(server, token, streams=1) as (call,):
                assert call.exception(timeout=20).code() is grpc.StatusCode.CANCELLED


def test_words_of_a_refusal_know_no_class_of_a_message(server: OracleServer, channel: grpc.Channel):
    token = server.open(session())
    for service, method in (("Oracle", "Query"), ("Oracle", "Describe"), ("Match", "Join"), ("Match", "FetchPool")):
        call = channel.unary_unary(f"/arena.proto.v1.{service}Service/{method}")
        with pytest.raises(grpc.RpcError) as failure:
            call(b"\xff" * 50, metadata=bearer(token), timeout=20)
        assert "the 50 bytes received cannot be read as" in failure.value.details()
        assert "proto" not in failure.value.details()
        assert "Request" not in failure.value.details()


def test_a_client_that_leaves_in_the_middle_of_its_clone_is_no_fault_of_ours(
    server: OracleServer, caplog: pytest.LogCaptureFixture
):
    token = server.open(session())
    sent, left = threading.Event(), threading.Event()

    def parts() -> Iterator[match_pb2.HandBackRequest]:
        yield match_pb2.HandBackRequest(chunk=b"half")
        sent.set()
        assert left.wait(20)

    with own_channel(server) as channel:
        call = match_pb2_grpc.MatchServiceStub(channel).HandBack.future(parts(), metadata=bearer(token))
        assert sent.wait(20)
        call.cancel()
        left.set()
    with Connection(server.address, token) as connection:
        RemoteMatch(connection).hand_back(CLONE)
    assert server.clone(token, timeout=20) == CLONE
    assert "our fault" not in caplog.text


def test_a_lost_answer_is_answered_from_the_record(server: OracleServer, channel: grpc.Channel):
    hosted = session()
    token = server.open(hosted)
    query = oracle_pb2_grpc.OracleServiceStub(channel).Query
    first = query(query_to_message(key(1), batch(3)), metadata=bearer(token))
    again = query(query_to_message(key(1), batch(3)), metadata=bearer(token))
    assert first == again
    with pytest.raises(grpc.RpcError) as failure:
        query(query_to_message(key(1), batch(3, seed=1)), metadata=bearer(token))
    error = failure.value
    assert isinstance(from_status(error.code(), error.details(), error.trailing_metadata()), RequestConflict)
    assert hosted.remaining == 97


def test_health_is_answered_while_a_forward_runs():
    running, released = threading.Event(), threading.Event()

    def slow(queries: QueryBatch) -> Answer:
        running.set()
        assert released.wait(20)
        return CountingResponder()(queries)

    hosted = Session(OracleTerms(task=TASK, budget=9), responder=slow, ledger=MemoryLedger(budget=9))
    with serving() as server, grpc.insecure_channel(server.address) as channel:
        call = oracle_pb2_grpc.OracleServiceStub(channel).Query.future(request(), metadata=bearer(server.open(hosted)))
        assert running.wait(20)
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "arena.proto.v1.OracleService"):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        released.set()
        assert call.result(timeout=20).remaining == 8


def test_too_many_calls_at_once_are_an_overload():
    running, released = threading.Event(), threading.Event()

    def slow(queries: QueryBatch) -> Answer:
        running.set()
        assert released.wait(20)
        return CountingResponder()(queries)

    hosted = Session(OracleTerms(task=TASK, budget=9), responder=slow, ledger=MemoryLedger(budget=9))
    narrow = OracleServer(max_concurrent_calls=1)
    with serving(server=narrow) as server, own_channel(server) as first, own_channel(server) as second:
        metadata = bearer(server.open(hosted))
        call = oracle_pb2_grpc.OracleServiceStub(first).Query.future(request(), metadata=metadata)
        assert running.wait(20)
        with pytest.raises(grpc.RpcError) as failure:
            oracle_pb2_grpc.OracleServiceStub(second).Query(request(), metadata=metadata, timeout=20)
        error = failure.value
        assert isinstance(from_status(error.code(), error.details(), error.trailing_metadata()), Overloaded)
        released.set()
        assert call.result(timeout=20).remaining == 8


def own_channel(server: OracleServer) -> grpc.Channel:
    """A connection that is not shared with other channels to the same address."""
    return grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])


def test_reflection_tells_the_services(channel: grpc.Channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"arena.proto.v1.OracleService", "arena.proto.v1.MatchService"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("arena.proto.v1.OracleService")
    assert set(service.methods_by_name) == {"Describe", "Query"}


class TestStarting:
    def test_a_socket_is_as_good_as_a_port(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)  # a socket's path has at most 107 bytes
        with (
            serving("unix:oracle.sock") as server,
            Connection(server.address, server.open(session())) as connection,
        ):
            assert RemoteOracle(connection).remaining == 100

    def test_a_client_plays_on_after_a_restart(self, tmp_path: Path):
        def reopened() -> tuple[Session, SqliteLedger]:
            ledger = SqliteLedger.open(tmp_path / "match.ledger", budget=100)
            responder = CountingResponder()
            hosted = Session(
                OracleTerms(task=TASK, budget=100), responder=responder, ledger=ledger, honest=MirroringScript()
            )
            return hosted, ledger

        undisturbed = session(honest=MirroringScript())
        for seed in (1, 2):
            undisturbed.query(key(seed), batch(3, seed=seed))
        first, ledger = reopened()
        with serving() as server:
            port = int(server.address.rpartition(":")[2])
            token = server.open(first)
            connection = Connection(server.address, token)
            oracle = RemoteOracle(connection)
            oracle.query(inputs(3, seed=1))
        ledger.release()
        second, _ = reopened()
        with serving(port=port) as server, connection:
            server.open(second, token=token)
            oracle.query(inputs(3, seed=2))
            assert oracle.remaining == 94
            assert server.close(token).digest == undisturbed.close().digest

    def test_a_port_in_use_is_refused(self, server: OracleServer):
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(UsageError, match="in use"), serving(port=port):
            pass

    def test_other_machines_are_let_in_only_on_request(self):
        with pytest.raises(UsageError, match="--insecure-bind"), serving("0.0.0.0"):
            pass
        with serving("0.0.0.0", exposed=True) as server:
            assert server.address.startswith("0.0.0.0:")

    def test_a_match_whose_calls_would_not_fit_a_message_is_not_served(self, server: OracleServer):
        task = Task(shape=(3, 224, 224), classes=3)
        large = Session(OracleTerms(task=task, budget=1), responder=CountingResponder(), ledger=MemoryLedger(budget=1))
        with pytest.raises(BadParameter, match="bytes"):
            server.open(large)
