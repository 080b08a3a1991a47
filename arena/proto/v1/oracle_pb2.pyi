from arena.proto.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("shape", "classes", "class_names", "budget", "remaining", "accounts", "explanation", "explanation_price", "max_rows", "max_bytes")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    classes: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    budget: int
    remaining: int
    accounts: int
    explanation: str
    explanation_price: int
    max_rows: int
    max_bytes: int
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., classes: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., budget: _Optional[int] = ..., remaining: _Optional[int] = ..., accounts: _Optional[int] = ..., explanation: _Optional[str] = ..., explanation_price: _Optional[int] = ..., max_rows: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("request_id", "inputs", "account", "explain")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    inputs: _tensor_pb2.Tensor
    account: int
    explain: bool
    def __init__(self, request_id: _Optional[bytes] = ..., inputs: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., account: _Optional[int] = ..., explain: _Optional[bool] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("posteriors", "refused", "explanations", "remaining")
    POSTERIORS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    posteriors: _tensor_pb2.Tensor
    refused: bytes
    explanations: _tensor_pb2.Tensor
    remaining: int
    def __init__(self, posteriors: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., refused: _Optional[bytes] = ..., explanations: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., remaining: _Optional[int] = ...) -> None: ...
