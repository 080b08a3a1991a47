from arena.proto.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("pool_rows", "max_rows", "seconds_left", "seed", "defense", "max_clone_bytes")
    POOL_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEFENSE_FIELD_NUMBER: _ClassVar[int]
    MAX_CLONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    pool_rows: int
    max_rows: int
    seconds_left: float
    seed: int
    defense: str
    max_clone_bytes: int
    def __init__(self, pool_rows: _Optional[int] = ..., max_rows: _Optional[int] = ..., seconds_left: _Optional[float] = ..., seed: _Optional[int] = ..., defense: _Optional[str] = ..., max_clone_bytes: _Optional[int] = ...) -> None: ...

class FetchPoolRequest(_message.Message):
    __slots__ = ("first_row",)
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    first_row: int
    def __init__(self, first_row: _Optional[int] = ...) -> None: ...

class FetchPoolResponse(_message.Message):
    __slots__ = ("inputs",)
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _tensor_pb2.Tensor
    def __init__(self, inputs: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class HandBackRequest(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class HandBackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
