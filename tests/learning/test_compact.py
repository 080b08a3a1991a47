"""Rows of one byte a value: they are read as float32, bit for bit, and only those that are asked for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arena.data.images import to_unit
from arena.learning import compact, row_log
from arena.learning.compact import CompactRows, LevelRows, looked_up, plain, rows_of
from arena.learning.row_log import RowLog
from arena.learning.tensors import digest_of, pack, row_digests, unit
from arena.learning.training import fit, predict

ROWS, SHAPE = 700, (1, 4, 4)


def levels() -> Tensor:
    return torch.randint(256, (ROWS, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class Counted(LevelRows):
    """Counts the rows that are read."""

    rows = 0

    def read(self, rows: Tensor) -> Tensor:
        self.rows += len(rows)
        return super().read(rows)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compact, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(compact, "PLAIN_BYTES", 300 * 64)  # 300 rows


@pytest.fixture
def store() -> Counted:
    return Counted(levels())


@pytest.fixture
def rows(store: Counted) -> Tensor:
    return rows_of(store)


PLAIN = to_unit(levels())


def test_every_level_is_read_as_a_data_set_has_it():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(torch.from_numpy(unit(every.numpy())), to_unit(every))
    assert torch.equal(looked_up(every), to_unit(every))


def test_small_rows_are_an_ordinary_tensor(store: Counted):
    assert type(rows_of(store, torch.arange(300))) is Tensor
    assert isinstance(rows_of(store, torch.arange(301)), CompactRows)


def test_is_a_float32_tensor_of_its_shape(rows: Tensor):
    assert isinstance(rows, Tensor)
    assert (rows.shape, rows.dtype, rows.device.type, rows.dim()) == ((ROWS, *SHAPE), torch.float32, "cpu", 4)
    assert "700" in repr(rows)


@pytest.mark.parametrize(
    "choose",
    [
        lambda x: x[torch.tensor([5, 699, 0, 5])],
        lambda x: x[[5, 699, 0]],
        lambda x: x[-1],
        lambda x: x[3],
        lambda x: next(iter(x)),
        lambda x: x[10:300:7],
        lambda x: x[:0],
        lambda x: x[600:],
        lambda x: x[torch.arange(ROWS) % 3 == 0],
        lambda x: x.index_select(0, torch.tensor([2, 1])),
        lambda x: x.split(256)[2],
        lambda x: x.chunk(3)[1],
        lambda x: x.split([200, 500])[0],
        lambda x: torch.split(x, 256)[-1],
        lambda x: x[np.array([1, 0])],
        lambda x: x[torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))][500:][:20],
    ],
)
def test_reads_only_the_rows_that_are_chosen(rows: Tensor, store: Counted, choose: Callable[[Tensor], Tensor]):
    assert torch.equal(choose(rows), choose(PLAIN))
    assert store.rows <= ROWS // 2


def test_a_batch_of_chosen_rows_is_an_ordinary_tensor(rows: Tensor):
    assert type(rows[torch.arange(64)]) is Tensor
    assert type(rows[:64]) is Tensor
    assert type(plain(rows.split(64)[0])) is Tensor


def test_many_chosen_rows_stay_compact(rows: Tensor, store: Counted):
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    found = rows[order][10:].detach()
    assert (isinstance(found, CompactRows), store.rows) == (True, 0)
    assert torch.equal(found, PLAIN[order][10:])
    assert torch.equal(rows.to("cpu", torch.float32).contiguous(), PLAIN)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.mean(dim=0),
        lambda x: x.flatten(1),
        lambda x: x + 0.0,
        lambda x: x[:, :, 1],
        lambda x: x[torch.tensor([[1], [2]])],
        lambda x: x[torch.tensor([1, 2]), torch.tensor([0, 0])],
        lambda x: torch.cat([x, x[:5]]),
        lambda x: torch.stack([x, x]),
        lambda x: x.double(),
        lambda x: x.clone(),
        lambda x: x.to(torch.float64),
        lambda x: x[[]],
        lambda x: x[None],
        lambda x: x[...],
        lambda x: ~(x > 0.5),
        lambda x: x.reshape(ROWS, -1).T,
        lambda x: torch.where(x > 0.5, x, 0.0),
        lambda x: nn.functional.conv2d(x, torch.ones(2, 1, 3, 3)),
        lambda x: torch.from_numpy(x.numpy()),
        lambda x: torch.from_numpy(np.asarray(x)),
        lambda x: torch.tensor(x.tolist()),
        lambda x: torch.stack(list(x)),
        lambda x: torch.stack(x.aminmax()),
        lambda x: x.unsqueeze(0).expand(2, -1, -1, -1, -1),
        copy.deepcopy,
        lambda x: pickle.loads(pickle.dumps(x)),
    ],
)
def test_any_other_operation_has_the_same_result(rows: Tensor, operation: Callable[[Tensor], Tensor]):
    assert torch.equal(operation(rows), operation(PLAIN))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.zero_(),
        lambda x: x.__iadd__(1),
        lambda x: x.requires_grad_(True),
        lambda x: x.__setitem__(0, torch.zeros(SHAPE)),
        lambda x: x.__setitem__(slice(None), 0.0),
    ],
)
def test_cannot_be_changed(rows: Tensor, store: Counted, change: Callable[[Tensor], object]):
    before = digest_of([store.read(torch.arange(ROWS))])
    with pytest.raises(RuntimeError, match="can only be read"):
        change(rows)
    assert digest_of([store.read(torch.arange(ROWS))]) == before


def test_what_was_chosen_may_be_changed_and_differentiated(rows: Tensor, store: Counted):
    some = rows[:8]
    some.mul_(2).requires_grad_(True)
    some.square().sum().backward()
    assert torch.equal(some.grad, 4 * PLAIN[:8])
    assert torch.equal(rows[:8], PLAIN[:8])


def test_digests_are_those_of_the_plain_rows(rows: Tensor):
    assert digest_of([rows]) == digest_of([PLAIN])
    assert row_digests(rows) == row_digests(PLAIN)


def test_training_and_prediction_are_the_same_to_the_bit(rows: Tensor):
    targets = torch.rand(ROWS, 3, generator=torch.Generator().manual_seed(2)).softmax(dim=1)

    def trained(inputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        fit(network, inputs, targets, steps=30, rng=torch.Generator().manual_seed(3))
        return predict(network, inputs)

    assert torch.equal(trained(rows), trained(PLAIN))


def mixed() -> Tensor:
    """The rows, of which the second hundred are no levels."""
    found = PLAIN.clone()
    found[100:200] /= 3
    return found


@pytest.mark.parametrize("in_memory", [0, 5_000, 10**9])
@pytest.mark.parametrize("inputs", [PLAIN, mixed()])
def test_a_log_has_the_rows_in_order_wherever_it_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int, inputs: Tensor
):
    monkeypatch.setattr(row_log, "IN_MEMORY_BYTES", in_memory)
    log = RowLog(tmp_path)
    for part in inputs.split(50):
        log.append(pack(part, compact=True))
    assert torch.equal(log.tensor(), inputs)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    assert torch.equal(log.tensor()[order], inputs[order])
    assert torch.equal(log.tensor()[order[:40]], inputs[order[:40]])
    assert torch.equal(log.moved(order, torch.device("cpu")), inputs[order])
    assert not list(tmp_path.iterdir())


def test_an_empty_log_is_an_empty_tensor():
    assert RowLog().tensor().shape == (0,)
