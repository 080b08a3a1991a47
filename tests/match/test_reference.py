from __future__ import annotations

import pytest
import torch

from arena.learning import row_log
from arena.learning.compact import CompactRows
from arena.match.reference import UNIFORM_ROWS, uniform_rows


@pytest.mark.parametrize("in_memory", [10**9, 0], ids=["in memory", "in a file"])
def test_uniform_rows_are_those_of_one_draw(monkeypatch: pytest.MonkeyPatch, in_memory: int):
    monkeypatch.setattr(row_log, "IN_MEMORY_BYTES", in_memory)
    rows = uniform_rows((3, 5), rng=torch.Generator().manual_seed(4))
    assert torch.equal(rows, torch.rand(UNIFORM_ROWS, 3, 5, generator=torch.Generator().manual_seed(4)))
    assert isinstance(rows, CompactRows) == (in_memory == 0)
