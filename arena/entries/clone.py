"""A clone that only its entry's code can build: it stays in a sandbox, and is scored by its predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arena.contracts import AttackFault, Spec, Task
from arena.entries.companion import Companion, CompanionFailed
from arena.entries.frames import Frame
from arena.entries.stage import close_stage, open_stage
from arena.learning.tensors import pack, unpack
from arena.match.clones import AnsweringClone
from arena.sandbox.job import BoxLimits, Sandbox

MAX_BYTES = 64 << 20
START_SECONDS, ANSWER_SECONDS = 120.0, 120.0


class PredictedClone(AnsweringClone):
    """Answers like the clone, which is loaded in a sandbox without an oracle; its bytes are never read outside.

    The rows of a batch are asked in a random order. The first batch, with which every clone is checked at the end of the
    attack's play, is answered by a sandbox of its own: the one that sees test rows starts when the oracle is closed.
    """

    def __init__(self, data: bytes, spec: Spec, task: Task, *, sandbox: Sandbox, limits: BoxLimits) -> None:
        super().__init__()
        if not 0 < len(data) <= MAX_BYTES:
            message = (
                f"a clone of a class of your own may have {MAX_BYTES >> 20} MiB, and this one has {len(data)} bytes"
            )
            raise AttackFault(message)
        self.register_buffer("data", torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self.placed = nn.Parameter(torch.zeros(1), requires_grad=False)  # every network has a device
        self._data, self._spec, self._task, self._sandbox, self._limits = data, spec, task, sandbox, limits
        self._companion: Companion | None = None
        self._was_checked = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, K). Raises `AttackFault` if the clone fails."""
        order = torch.randperm(len(inputs))
        try:
            companion = self._companion = self._companion or self._started()
            frame = companion.ask(Frame(about={}, tensors=[pack(inputs[order], compact=True)]), seconds=ANSWER_SECONDS)
        except CompanionFailed as failure:
            message = f"the clone failed in its sandbox: {failure}"
            raise AttackFault(message) from failure
        if not self._was_checked:
            companion.close()
            self._companion, self._was_checked = None, True
        if len(frame.tensors) != 1 or frame.tensors[0].shape != (len(inputs), self._task.classes):
            message = f"the clone did not return logits of shape ({len(inputs)}, {self._task.classes})"
            raise AttackFault(message)
        logits = torch.empty(len(inputs), self._task.classes)
        logits[order] = unpack(frame.tensors[0])
        return logits

    def _started(self) -> Companion:
        stage = open_stage(self._spec)
        try:
            path = stage.sockets / "clone"
            path.write_bytes(self._data)
            path.chmod(0o644)
            request = {"spec": stage.inside(self._spec)}
            return Companion(self._sandbox, stage, "predictions", request, limits=self._limits, seconds=START_SECONDS)
        except BaseException:
            close_stage(stage)
            raise
