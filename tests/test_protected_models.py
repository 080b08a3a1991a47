"""What people bring to `protect` works or is refused with what to do, and their own object stays as it was."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import arena
from arena.contracts import ArenaError, BadParameter, InvalidQuery, NeedUnmet
from arena.learning.training import predict

ROWS = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()


def expected() -> Tensor:
    return predict(network(), ROWS)


class Returning(nn.Module):
    """A model whose output is made of the logits by ``form``."""

    def __init__(self, form: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.form = network(), form

    def forward(self, inputs: Tensor) -> object:
        return self.form(self.network(inputs))


class Outputs(NamedTuple):
    logits: Tensor
    aux_logits: Tensor


@dataclass
class ModelOutput(OrderedDict[str, object]):
    """An output by key and by attribute, as transformers have it."""

    def __init__(self, **values: object) -> None:
        super().__init__(values)
        self.__dict__.update(values)


FORMS: dict[str, Callable[[Tensor], object]] = {
    "tuple-of-one": lambda logits: (logits,),
    "list": lambda logits: [logits],
    "with-a-loss": lambda logits: (torch.tensor(0.5), logits),
    "with-a-feature-map": lambda logits: (logits, torch.zeros(len(logits), 3, 2, 2)),
    "named-tuple": lambda logits: Outputs(logits, logits + 1),
    "mapping": lambda logits: {"logits": logits, "features": logits * 2},
    "mapping-of-one": lambda logits: {"out": logits},
    "model-output": lambda logits: ModelOutput(loss=None, logits=logits, hidden_states=logits),
    "attribute": lambda logits: SimpleNamespace(logits=logits, pooled=logits),
    "numpy": lambda logits: logits.numpy(),
    "log-softmax": lambda logits: logits.log_softmax(dim=1),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("defense", ["none", "mad"])
def test_logits_are_found_in_an_output_of_any_form(form: Callable[[Tensor], object], defense: str):
    released = arena.protect(Returning(form), defense)(ROWS)
    assert torch.allclose(released, arena.protect(network(), defense)(ROWS), atol=1e-6)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda logits: (logits, logits + 1), "holds 0, 1, and it is not clear what the logits are: wrap the model"),
        (lambda logits: {"a": logits, "b": logits}, "holds a, b, and it is not clear"),
        (lambda logits: {"loss": torch.tensor(1.0)}, "holds loss, and it is not clear"),
        (lambda logits: None, "of type NoneType, and it is not clear"),
        (lambda logits: "cat", "of type str, and it is not clear"),
        (lambda logits: logits.argmax(dim=1), "of type torch.int64; it must be logits"),
        (lambda logits: logits[0], r"the shape \(5,\) for 8 inputs; it must be logits \(8, K\)"),
        (lambda logits: logits[:, :1], r"the shape \(8, 1\) for 8 inputs"),
        (lambda logits: logits[:1], r"the shape \(1, 5\) for 8 inputs"),
        (lambda logits: logits.reshape(-1, 5, 1, 1), r"the shape \(8, 5, 1, 1\) for 8 inputs"),
    ],
)
def test_an_output_without_certain_logits_is_refused(form: Callable[[Tensor], object], said: str):
    with pytest.raises(BadParameter, match=said):
        arena.protect(Returning(form), "none")(ROWS)


class TestProbabilities:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_at_the_end_are_detected_and_refused(self, dtype: torch.dtype):
        model = Returning(lambda logits: logits.softmax(dim=1).to(dtype))
        with pytest.raises(BadParameter, match=r"seems to be probabilities.* set probabilities=True"):
            arena.protect(model, "none")(ROWS)

    def test_that_are_declared_are_released_as_they_are(self):
        model = Returning(lambda logits: logits.softmax(dim=1))
        assert torch.allclose(arena.protect(model, "none", probabilities=True)(ROWS), expected(), atol=1e-6)

    def test_of_zero_and_one_are_released_as_they_are(self):
        model = Returning(lambda logits: nn.functional.one_hot(logits.argmax(dim=1), 5).float())
        released = arena.protect(model, "none", probabilities=True)(ROWS)
        assert torch.equal(released, nn.functional.one_hot(expected().argmax(dim=1), 5).float())

    def test_that_are_declared_but_are_none_are_refused(self):
        with pytest.raises(BadParameter, match="negative or do not sum to one: leave it out for logits"):
            arena.protect(network(), "none", probabilities=True)(ROWS)


class TestModelsWithoutParameters:
    class Rule(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack([inputs.flatten(1).mean(dim=1), inputs.flatten(1).amax(dim=1)], dim=1)

    @pytest.mark.parametrize("defense", ["none", "mad", "gaussian-noise", "prada", "rounding"])
    def test_are_protected(self, defense: str):
        assert arena.protect(self.Rule(), defense)(ROWS).shape == (20, 2)

    def test_have_no_weights_to_change(self):
        training = (ROWS, torch.zeros(20, dtype=torch.int64))
        with pytest.raises(NeedUnmet, match="needs the victim's weights"):
            arena.protect(self.Rule(), "deep-defense", training=training)

    def test_may_be_frozen_scripts(self):
        frozen = torch.jit.freeze(torch.jit.script(network()))
        assert torch.allclose(arena.protect(frozen, "none")(ROWS), expected(), atol=1e-6)


class Session:
    """Stands for a session of another runtime, which cannot be copied."""

    def __deepcopy__(self, memo: object) -> object:
        raise TypeError("cannot pickle a session")


class TestModelsThatCannotBeCopied:
    def model(self) -> nn.Module:
        model = Returning(lambda logits: logits)
        model.session = Session()
        return model

    def test_are_called_as_they_are(self):
        model = self.model().eval()
        assert torch.equal(arena.protect(model, "none")(ROWS), expected())
        assert torch.equal(arena.protect(model.double(), "none")(ROWS).argmax(dim=1), expected().argmax(dim=1))

    def test_must_be_in_eval_mode(self):
        model = self.model().train()
        with pytest.raises(BadParameter, match=r"cannot be copied.*call model\.eval\(\) first"):
            arena.protect(model, "none")
        assert model.training


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("defense", ["none", "mad", "deep-defense"])
def test_weights_of_any_floating_point_type_work(dtype: torch.dtype, defense: str):
    training = (ROWS, torch.zeros(20, dtype=torch.int64))
    released = arena.protect(network().to(dtype), defense, training=training)(ROWS[:3])
    assert released.dtype == torch.float32
    if defense == "none":
        assert torch.allclose(released, expected()[:3], atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("defense", ["none", "mad", "deep-defense", "adaptive-misinformation"])
def test_a_model_on_another_device_stays_there(defense: str):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = network().cuda()
    training = (ROWS, torch.arange(20) % 5)
    released = arena.protect(model, defense, training=training, validation=training, outliers=ROWS)(ROWS.cuda()[:3])
    assert released.device.type == "cpu"
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}


def test_wrappers_that_only_say_how_a_model_runs_are_taken_off():
    assert torch.equal(arena.protect(nn.DataParallel(network()), "none")(ROWS), expected())
    assert torch.equal(arena.protect(torch.compile(network()), "none")(ROWS), expected())


def state_of(model: nn.Module) -> dict[str, object]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        "tensors": {name: (id(value), value.dtype, value.device, value.tolist()) for name, value in tensors.items()},
        "required": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if value.grad is None else value.grad.tolist() for value in model.parameters()],
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "defense", ["none", "mad", "deep-defense", "adaptive-misinformation", "diverse-ensemble", "isolation-induction"]
)
def test_the_callers_model_and_surrogate_stay_as_they_were(defense: str, dtype: torch.dtype):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 5)]
    model, surrogate = nn.Sequential(*layers).train().to(dtype), nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).train()
    model[1].register_forward_hook(lambda *_: None)
    model[2].eval()
    model[1].weight.requires_grad_(False)
    model(ROWS.to(dtype)).sum().backward()
    before, standing = state_of(model), state_of(surrogate)
    brief = {"steps": 2} if defense not in ("none", "mad") else {}
    labelled = (ROWS, torch.arange(20) % 5)
    protected = arena.protect(
        model, defense, training=labelled, validation=labelled, outliers=ROWS, surrogate=surrogate, **brief
    )
    protected(ROWS[:3])
    assert state_of(model) == before
    assert state_of(surrogate) == standing


def test_later_training_of_the_callers_model_changes_no_answer():
    model = network()
    protected = arena.protect(model, "none")
    before = protected(ROWS)
    with torch.no_grad():
        model[1].bias.add_(torch.arange(5.0))
    assert torch.equal(protected(ROWS), before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("defense", ["none", "mad", "label-only"])
def test_logits_that_are_not_finite_are_the_models_fault(bad: float, defense: str):
    model = Returning(lambda logits: torch.where(logits == logits[:1], logits, bad))
    with pytest.raises(BadParameter, match=r"logits are not finite for .* of 20 rows.*check its weights"):
        arena.protect(model, defense)(ROWS)


def test_a_logit_of_minus_infinity_is_a_probability_of_zero():
    never = torch.tensor([0.0, 0.0, 0.0, 0.0, float("-inf")])
    assert bool((arena.protect(Returning(lambda logits: logits + never), "none")(ROWS)[:, 4] == 0).all())


class TestNumPy:
    def test_inputs_and_rows_to_learn_from_work(self):
        rows, labels = ROWS.numpy(), (torch.arange(20) % 5).numpy()
        rows.setflags(write=False)
        protected = arena.protect(network(), "none", training=(rows, labels), outliers=rows)
        assert torch.equal(protected(rows), expected())

    def test_inputs_of_another_type_are_refused_with_the_right_one(self):
        with pytest.raises(InvalidQuery, match=r"of dtype torch\.float32, not torch\.float64"):
            arena.protect(network(), "none")(ROWS.numpy().astype(np.float64))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: arena.protect(lambda inputs: inputs, "none"), BadParameter, "must be a torch.nn.Module, not function"),
        (lambda: arena.protect(network, "none"), BadParameter, "must be a torch.nn.Module, not function"),
        (lambda: arena.protect(network(), "none")(ROWS[:, :, :4]), InvalidQuery, "the model raised RuntimeError for 8"),
        (lambda: arena.protect(network(), "none")([[0.0]]), InvalidQuery, "must be a torch tensor, not builtins.list"),
        (lambda: protected_with(training=ROWS), BadParameter, "training must be a pair"),
        (lambda: protected_with(training=(ROWS, torch.zeros(3).long())), BadParameter, "one label for each input"),
        (lambda: protected_with(training=(ROWS, torch.zeros(20))), BadParameter, "labels must be whole numbers"),
        (lambda: protected_with(training=(ROWS, torch.full((20,), 5))), BadParameter, "labels range from 5 to 5, but"),
        (lambda: protected_with(training=(ROWS * 255, torch.arange(20) % 5)), BadParameter, r"training: .*in \[0, 1\]"),
        (lambda: protected_with(outliers=ROWS.double()), BadParameter, "outliers: .*float32"),
        (lambda: protected_with(outliers=ROWS[:, :, :4]), BadParameter, r"outliers: .*shape \(N, 1, 8, 8\)"),
        (lambda: protected_with(surrogate=Session()), BadParameter, "surrogate must be a torch.nn.Module"),
    ],
)
def test_what_cannot_be_protected_is_said(make: Callable[[], object], error: type[ArenaError], said: str):
    with pytest.raises(error, match=said):
        make()


def protected_with(**given: object) -> Tensor:
    rows = {"training": (ROWS, torch.arange(20) % 5), **given}
    return arena.protect(copy.deepcopy(network()), "mad", **rows)(ROWS)  # type: ignore[arg-type]
