"""Tensors and terms survive the wire bit for bit; what is no tensor is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arena.contracts import Answer, InvalidQuery, QueryBatch, Task
from arena.oracle.terms import OracleTerms
from arena.proto.v1 import oracle_pb2, tensor_pb2
from arena.rpc.codec import (
    answer_from_message,
    answer_to_message,
    message_bytes,
    query_from_message,
    query_to_message,
    rows_that_fit,
    tensor_from_message,
    tensor_to_message,
    terms_from_message,
    terms_to_message,
)

SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=4)
FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def tensors(draw: st.DrawFn, values: st.SearchStrategy[float]) -> torch.Tensor:
    shape = draw(SHAPES)
    size = int(torch.tensor(shape).prod())
    return torch.tensor(draw(st.lists(values, min_size=size, max_size=size)), dtype=torch.float32).reshape(shape)


@settings(deadline=None)
@given(tensors(FLOATS))
def test_any_tensor_survives_bit_for_bit(tensor: torch.Tensor):
    sent = tensor_pb2.Tensor.FromString(tensor_to_message(tensor).SerializeToString())
    assert torch.equal(tensor_from_message(sent).view(torch.int32), tensor.view(torch.int32))


@settings(deadline=None)
@given(tensors(st.integers(0, 255).map(lambda level: level / 255) | st.floats(0, 1, width=32)))
def test_compact_inputs_survive_and_are_bytes_only_where_that_is_exact(tensor: torch.Tensor):
    message = tensor_to_message(tensor, compact=True)
    assert torch.equal(tensor_from_message(message), tensor)
    if message.dtype == tensor_pb2.Tensor.DTYPE_UINT8:
        assert len(message.data) == tensor.numel()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=10), st.integers(0, 5), st.binary(max_size=40))
@example([0, 141, 4886, 87207, 153520299], 1, b"")  # empty, and its strides overflow
def test_what_is_no_tensor_is_an_invalid_query(shape: list[int], dtype: int, data: bytes):
    message = tensor_pb2.Tensor(shape=shape, dtype=dtype, data=data)
    try:
        tensor = tensor_from_message(message)
    except InvalidQuery:
        return
    assert list(tensor.shape) == shape


def test_a_query_survives():
    queries = QueryBatch(inputs=torch.rand(3, 2), account=4, explain=True)
    sent = oracle_pb2.QueryRequest.FromString(query_to_message(b"k" * 16, queries).SerializeToString())
    received = query_from_message(sent)
    assert sent.request_id == b"k" * 16
    assert (received.account, received.explain) == (4, True)
    assert torch.equal(received.inputs, queries.inputs)


@pytest.mark.parametrize("explanations", [None, torch.randn(2, 3, 3)])
def test_an_answer_survives(explanations: torch.Tensor | None):
    answer = Answer(posteriors=torch.rand(2, 4), refused=torch.tensor([True, False]), explanations=explanations)
    received = answer_from_message(answer_to_message(answer, remaining=7))
    assert torch.equal(received.posteriors, answer.posteriors)
    assert torch.equal(received.refused, answer.refused)
    assert (received.explanations is None) == (explanations is None)
    if explanations is not None and received.explanations is not None:
        assert torch.equal(received.explanations, explanations)


@pytest.mark.parametrize("explanation", [None, "grad-cam"])
def test_terms_survive(explanation: str | None):
    terms = OracleTerms(
        task=Task(shape=(1, 8, 8), classes=10), budget=100, accounts=3, explanation=explanation, max_rows=7
    )
    assert terms_from_message(terms_to_message(terms, remaining=5, max_bytes=9)) == terms


def test_the_largest_call_fits_its_message_limit():
    terms = OracleTerms(task=Task(shape=(3, 9, 9), classes=5), budget=1, max_rows=20)
    queries = QueryBatch(inputs=torch.rand(20, 3, 9, 9))
    assert query_to_message(b"k" * 16, queries).ByteSize() < message_bytes(terms)
    assert rows_that_fit((3, 9, 9), max_bytes=message_bytes(terms)) >= 20
