"""Translates tensors, terms and answers to and from messages, and bounds the size of these messages."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from arena.contracts import Answer, InvalidQuery, QueryBatch, Task
from arena.learning.tensors import Packed, check_filled, pack, unpack
from arena.oracle.record import PackedBatch, Release
from arena.oracle.terms import OracleTerms
from arena.proto.v1 import oracle_pb2, tensor_pb2

_ENVELOPE_BYTES = 64 * 1024  # room for everything in a message except its tensor
_MOST_DIMENSIONS = 8

_DTYPES: dict[Literal["uint8", "float32"], tensor_pb2.Tensor.Dtype] = {
    "float32": tensor_pb2.Tensor.DTYPE_FLOAT32,
    "uint8": tensor_pb2.Tensor.DTYPE_UINT8,
}
_NAMES = {number: name for name, number in _DTYPES.items()}


def tensor_to_message(tensor: Tensor, *, compact: bool = False) -> tensor_pb2.Tensor:
    """Return the message of a float32 tensor; ``compact`` uses one byte per value if that is exact."""
    return _message(pack(tensor, compact=compact))


def tensor_from_message(message: tensor_pb2.Tensor) -> Tensor:
    """Return the float32 tensor of a message. Raises `InvalidQuery` if it cannot be read."""
    return _unpacked(_packed(message))


def packed_from_message(message: tensor_pb2.Tensor) -> Packed:
    """Return the tensor of a message as it was sent. Raises `InvalidQuery` if it cannot be read."""
    packed = _packed(message)
    try:
        check_filled(packed)
    except ValueError as error:
        raise InvalidQuery(f"the tensor cannot be read: {error}") from error
    return packed


def query_from_message(message: oracle_pb2.QueryRequest) -> QueryBatch:
    """Return the call of a message. Raises `InvalidQuery` if its tensor cannot be read."""
    packed = _packed(message.inputs)
    inputs = _unpacked(packed)
    if packed.dtype == "uint8":  # the compact form: the ledger can store these bytes as they are
        return PackedBatch(inputs=inputs, account=message.account, explain=message.explain, packed=packed)
    return QueryBatch(inputs=inputs, account=message.account, explain=message.explain)


def query_to_message(request_id: bytes, queries: QueryBatch) -> oracle_pb2.QueryRequest:
    return oracle_pb2.QueryRequest(
        request_id=request_id,
        inputs=tensor_to_message(queries.inputs, compact=True),
        account=queries.account,
        explain=queries.explain,
    )


def answer_to_message(answer: Answer, *, remaining: int) -> oracle_pb2.QueryResponse:
    release = Release.of(answer)
    return oracle_pb2.QueryResponse(
        posteriors=_message(release.posteriors),
        refused=release.refused,
        explanations=None if release.explanations is None else _message(release.explanations),
        remaining=remaining,
    )


def answer_from_message(message: oracle_pb2.QueryResponse) -> Answer:
    """Return the answer of a message. Raises `InvalidQuery` if a tensor in it cannot be read."""
    return Answer(
        posteriors=tensor_from_message(message.posteriors),
        refused=torch.frombuffer(bytearray(message.refused), dtype=torch.bool),
        explanations=tensor_from_message(message.explanations) if message.HasField("explanations") else None,
    )


def terms_to_message(terms: OracleTerms, *, remaining: int, max_bytes: int) -> oracle_pb2.DescribeResponse:
    return oracle_pb2.DescribeResponse(
        shape=terms.task.shape,
        classes=terms.task.classes,
        class_names=terms.task.class_names,
        budget=terms.budget,
        remaining=remaining,
        accounts=terms.accounts,
        explanation=terms.explanation,
        explanation_price=terms.explanation_price,
        max_rows=terms.max_rows,
        max_bytes=max_bytes,
    )


def terms_from_message(message: oracle_pb2.DescribeResponse) -> OracleTerms:
    return OracleTerms(
        task=Task(shape=tuple(message.shape), classes=message.classes, class_names=tuple(message.class_names)),
        budget=message.budget,
        accounts=message.accounts,
        explanation=message.explanation if message.HasField("explanation") else None,
        explanation_price=message.explanation_price,
        max_rows=message.max_rows,
    )


def message_bytes(terms: OracleTerms) -> int:
    """Return the size in bytes of the largest message under these terms, float32 inputs or explained answers."""
    row = 4 * max(math.prod(terms.task.shape), terms.task.classes)
    answer = 4 * terms.task.classes + 1 + (4 * math.prod(terms.task.shape) if terms.explanation else 0)
    return terms.max_rows * max(row, answer) + _ENVELOPE_BYTES


def rows_that_fit(shape: tuple[int, ...], *, max_bytes: int) -> int:
    """Return how many float32 rows of ``shape`` fit into a message of ``max_bytes``, at least 1."""
    return max(1, (max_bytes - _ENVELOPE_BYTES) // (4 * math.prod(shape)))


def _message(packed: Packed) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=packed.shape, dtype=_DTYPES[packed.dtype], data=packed.data)


def _packed(message: tensor_pb2.Tensor) -> Packed:
    if message.dtype not in _NAMES:
        raise InvalidQuery(f"a tensor's dtype must be DTYPE_FLOAT32 (1) or DTYPE_UINT8 (2), not {message.dtype}")
    if not 1 <= len(message.shape) <= _MOST_DIMENSIONS:
        raise InvalidQuery(f"a tensor must have 1 to {_MOST_DIMENSIONS} dimensions, not {len(message.shape)}")
    return Packed(dtype=_NAMES[message.dtype], shape=tuple(message.shape), data=message.data)


def _unpacked(packed: Packed) -> Tensor:
    try:
        return unpack(packed)
    except ValueError as error:
        raise InvalidQuery(f"the tensor cannot be read: {error}") from error
