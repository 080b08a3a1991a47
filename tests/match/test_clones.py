"""Clones as files: what comes back is what went in, and nothing that a stranger sends gets further than its header."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from arena.contracts import AttackFault, Task
from arena.learning.architectures import architecture_names, build
from arena.match import clones
from arena.match.clones import checked_clone, clone_digest, pack_clone, posteriors_of, unpack_clone

TASK = Task(shape=(1, 16, 16), classes=3)
Header = dict[str, Any]


def network(arch: str = "mlp") -> nn.Module:
    return build(arch, TASK, rng=torch.Generator().manual_seed(1)).eval()


def rewritten(edit: Callable[[Header], object]) -> bytes:
    """A packed clone whose header was edited, its data as they were."""
    data = pack_clone(network())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


@pytest.mark.parametrize("arch", [*architecture_names(), "mlp-7"])
def test_comes_back_bit_for_bit(arch: str):
    sent = network(arch)
    received = unpack_clone(pack_clone(sent), TASK)
    assert not received.training
    assert clone_digest(received) == clone_digest(sent)
    rows = torch.rand(5, *TASK.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(posteriors_of(received)(rows), posteriors_of(sent)(rows))


def test_a_network_without_a_name_does_not_travel():
    with pytest.raises(AttackFault, match="has no named architecture"):
        pack_clone(nn.Sequential(nn.Flatten(), nn.Linear(256, 3)))


def not_finite() -> bytes:
    clone = network()
    with torch.no_grad():
        next(clone.parameters())[0, 0] = torch.inf
    return pack_clone(clone)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "of 8 to", id="empty"),
        pytest.param(b"\x00" * 7, "of 8 to", id="too-short"),
        pytest.param(struct.pack("<Q", 2**63) + b"{}", "claims", id="header-of-exabytes"),
        pytest.param(struct.pack("<Q", 100) + b"{}", "claims", id="header-longer-than-the-file"),
        pytest.param(struct.pack("<Q", 2**20 + 1) + b" " * (2**20 + 2), "claims", id="header-over-its-limit"),
        pytest.param(struct.pack("<Q", 4) + b"nope", "not JSON", id="header-no-json"),
        pytest.param(struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc", "not JSON", id="header-no-text"),
        pytest.param(struct.pack("<Q", 2) + b"[]", "not a JSON object", id="header-a-list"),
        pytest.param(struct.pack("<Q", 40_000) + b"[" * 40_000, "not JSON", id="header-nested-deeply"),
        pytest.param(pickle.dumps({"weights": [1.0]}), "claims", id="pickle"),
        pytest.param(safetensors.torch.save({"x": torch.zeros(3)}), "names no architecture", id="no-architecture"),
        pytest.param(
            rewritten(lambda header: header["__metadata__"].update(architecture="gpt-5")), "'gpt-5'", id="unknown"
        ),
        pytest.param(
            rewritten(lambda header: header["__metadata__"].update(architecture=7)),
            "names no architecture",
            id="no-word",
        ),
        pytest.param(
            rewritten(lambda header: header.update(__metadata__="mlp")), "names no architecture", id="no-metadata"
        ),
        pytest.param(
            rewritten(lambda header: header.update(extra=header["body.1.bias"])), "unexpected extra", id="one-too-many"
        ),
        pytest.param(rewritten(lambda header: header.pop("body.1.bias")), "missing body.1.bias", id="one-missing"),
        pytest.param(
            rewritten(lambda header: header["body.1.weight"].update(shape=[64, 2**40])),
            r"body.1.weight is F32 \[64, 1099511627776\]; it must be F32 \[\d+, \d+\]",
            id="lying-shape",
        ),
        pytest.param(
            rewritten(lambda header: header["body.1.weight"].update(dtype="F64")),
            "body.1.weight is F64",
            id="other-dtype",
        ),
        pytest.param(
            rewritten(lambda header: header.update({"body.1.bias": 3})), "body.1.bias is no tensor", id="entry-a-number"
        ),
        pytest.param(
            rewritten(lambda header: header["body.1.weight"].update(data_offsets=[0, 2**40])),
            "do not match its header",
            id="lying-offsets",
        ),
        pytest.param(
            rewritten(
                lambda header: header["body.1.weight"].update(data_offsets=header["body.1.bias"]["data_offsets"])
            ),
            "do not match its header",
            id="overlapping-offsets",
        ),
        pytest.param(pack_clone(network())[:-4], "do not match its header", id="cut-off"),
        pytest.param(
            pack_clone(build("mlp", Task(shape=(4,), classes=3), rng=torch.Generator())), "; it must be F32", id="task"
        ),
        pytest.param(rewritten(lambda header: header["body.1.weight"].update(dtype="Q7")), "is Q7", id="unknown-dtype"),
        pytest.param(not_finite(), "not finite", id="not-finite"),
    ],
)
def test_what_is_no_clone_of_this_task_is_the_attacks_fault(data: bytes, said: str):
    with pytest.raises(AttackFault, match=said):
        unpack_clone(data, TASK)


def test_a_network_is_not_made_before_its_shapes_are_known_to_fit(monkeypatch: pytest.MonkeyPatch):
    devices = []

    def building(*arguments: object, **options: object) -> object:
        devices.append(torch.get_default_device().type)
        return build(*arguments, **options)

    monkeypatch.setattr(clones, "build", building)
    header = json.dumps({"__metadata__": {"architecture": "resnet18"}}).encode()
    with pytest.raises(AttackFault):
        unpack_clone(struct.pack("<Q", len(header)) + header, TASK)
    assert devices == ["meta"]


def test_a_file_over_its_limit_is_not_read(monkeypatch: pytest.MonkeyPatch):
    data = pack_clone(network())
    monkeypatch.setattr(clones, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(AttackFault, match="bytes"):
        unpack_clone(data, TASK)


def test_a_checked_clone_is_put_in_eval_mode_and_asked_once():
    clone = network().train()
    assert checked_clone(clone, TASK) is clone
    assert not clone.training


@pytest.mark.parametrize(
    ("clone", "said"),
    [
        (None, "NoneType"),
        (lambda rows: rows, "function"),
        (build("mlp", Task(shape=TASK.shape, classes=4), rng=torch.Generator()), r"\(3, 4\)"),
    ],
)
def test_what_gives_no_logits_is_no_clone(clone: object, said: str):
    with pytest.raises(AttackFault, match=said):
        checked_clone(clone, TASK)
