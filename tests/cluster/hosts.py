"""Oracle hosts that stand for hosts on another node, and a runner of such hosts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from arena.cluster.ledger_files import LedgerFile, chunk_at
from arena.cluster.players import Artefacts, AttackSlot, Closed, OracleHost
from arena.cluster.runner import RayRunner
from arena.match.scoring import PlayedMatch, Scored
from arena.match.stages import StageFailed

ELSEWHERE = "another node"


class DistantHost(OracleHost):
    """A host whose files only it can read."""

    async def close(self, token: str, *, keep: bool = True) -> Closed | StageFailed:
        closed = await super().close(token, keep=keep)
        assert isinstance(closed, Closed)
        return replace(closed, ledger=replace(closed.ledger, node=ELSEWHERE))


class DyingHost(DistantHost):
    """A host that dies while its ledger is fetched."""

    async def chunk(self, ledger: Path, offset: int) -> bytes:
        os._exit(1)


class DistantSlot(AttackSlot):
    """A slot that says it is on another node, and can read a ledger by its chunks alone."""

    def node(self) -> str:
        return ELSEWHERE

    def score(self, played: PlayedMatch, ledger: LedgerFile, artefacts: Artefacts) -> Scored:
        assert ledger.chunks
        return super().score(played, replace(ledger, path=Path(ledger.path.name)), artefacts)


class DistantRunner(RayRunner):
    host_class = DistantHost
    slot_class = DistantSlot


class DyingRunner(RayRunner):
    host_class = DyingHost


class Files:
    """What `OracleHost` offers for a ledger that is fetched."""

    def __init__(self) -> None:
        self.largest = 0

    def chunk(self, ledger: Path, offset: int) -> bytes:
        found = chunk_at(ledger, offset)
        self.largest = max(self.largest, len(found))
        return found

    def forget(self, ledger: Path) -> None:
        ledger.unlink()

    def most(self) -> int:
        return self.largest
