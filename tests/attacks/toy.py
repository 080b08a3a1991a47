"""An oracle that counts and refuses, over functions from inputs to rows."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arena.contracts import Answer, AttackContext, BudgetExhausted, InvalidQuery, Task
from arena.learning.tensors import digest_of, row_digests, state_digest

TABLE = Task(shape=(6,), classes=3)
IMAGES = Task(shape=(1, 8, 8), classes=4)


def softmax_victim(inputs: Tensor) -> Tensor:
    """A linear model of any inputs, to 3 classes (tables) or 4."""
    flat = inputs.flatten(1).double()
    classes = 3 if inputs.dim() == 2 else 4
    random = torch.Generator().manual_seed(11)
    weights = torch.randn(flat.shape[1], classes, generator=random, dtype=torch.float64)
    return ((flat - 0.5) @ weights).softmax(dim=1).float()


def labels(inputs: Tensor) -> Tensor:
    rows = softmax_victim(inputs)
    return torch.nn.functional.one_hot(rows.argmax(dim=1), rows.shape[1]).float()


def one_decimal(inputs: Tensor) -> Tensor:
    rows = softmax_victim(inputs).round(decimals=1)
    return rows / rows.sum(dim=1, keepdim=True)


def constant(inputs: Tensor) -> Tensor:
    return softmax_victim(torch.zeros_like(inputs[:1])).expand(len(inputs), -1)


def always_first(inputs: Tensor) -> Tensor:
    return torch.eye(softmax_victim(inputs[:1]).shape[1])[:1].expand(len(inputs), -1)


VICTIMS = {victim.__name__: victim for victim in (softmax_victim, labels, one_decimal, constant, always_first)}


@dataclass
class ToyOracle:
    victim: Callable[[Tensor], Tensor]
    budget: int
    task: Task = TABLE
    refuse_every: int = 0  # 3: every third row is charged and refused
    calls: list[Tensor] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)
    asked_as: list[int] = field(default_factory=list)  # the account of each call
    accounts: int = 1
    explanation: str | None = "gradient-input"
    explanation_price: int = 1
    spent: int = 0
    explained: list[bool] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return self.budget - self.spent

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        if tuple(inputs.shape[1:]) != self.task.shape or not len(inputs) or inputs.dtype != torch.float32:
            raise InvalidQuery(f"{inputs.dtype} of shape {tuple(inputs.shape)}")
        if not bool(((inputs >= 0) & (inputs <= 1)).all()):
            raise InvalidQuery("outside of [0, 1]")
        if not 0 <= account < self.accounts or (explain and self.explanation is None):
            raise InvalidQuery(f"account {account}, explain {explain}")
        price = len(inputs) * (1 + explain * self.explanation_price)
        if price > self.remaining:
            raise BudgetExhausted("too many rows", remaining=self.remaining)
        number = torch.arange(len(inputs)) + self.rows
        refused = number % self.refuse_every == 0 if self.refuse_every else torch.zeros(len(inputs), dtype=torch.bool)
        rows = self.victim(inputs) * (~refused).unsqueeze(1)
        self.calls.append(inputs.clone())
        self.answers.append(rows.clone())
        self.asked_as.append(account)
        self.explained.append(explain)
        self.spent += price
        maps = (inputs.sum(dim=1) if inputs.dim() == 4 else inputs.clone()) if explain else None
        return Answer(posteriors=rows, refused=refused, explanations=maps)

    @property
    def rows(self) -> int:
        return sum(map(len, self.calls))

    @property
    def digests(self) -> list[bytes]:
        return [digest for call in self.calls for digest in row_digests(call)]

    @property
    def transcript(self) -> str:
        return digest_of([*self.calls, *self.answers])


class Untouchable(Tensor):
    """A tensor of which no operation may be asked."""

    @classmethod
    def __torch_function__(cls, *_, **__):
        raise AssertionError("the pool was touched")


def context(task=TABLE, *, rows=1000, seconds=60.0, device="cpu"):
    pool = torch.rand(rows, *task.shape, generator=torch.Generator().manual_seed(5))
    return AttackContext(pool=pool, device=torch.device(device), time_left=lambda: seconds)


def play(attack, oracle, *, seed=0, rows=1000, seconds=60.0):
    """The clone, after checks that hold for each: eval mode, finite weights, any batch size."""
    clone = attack.extract(
        oracle, context(oracle.task, rows=rows, seconds=seconds), rng=torch.Generator().manual_seed(seed)
    )
    assert not clone.training
    assert all(bool(value.isfinite().all()) for value in clone.state_dict().values())
    with torch.no_grad():
        assert clone(torch.rand(1, *oracle.task.shape)).shape == (1, oracle.task.classes)
    return clone


def digest(clone):
    return state_digest(clone.state_dict())


def rows(number: int, *, seed: int = 0, heat: float = 1.0) -> Tensor:
    """Posteriors (number, 6) of random logits, the flatter the more ``heat``."""
    logits = 3 * torch.randn(number, 6, generator=torch.Generator().manual_seed(seed)) / heat
    return logits.softmax(dim=1)


def l1(one: Tensor, other: Tensor) -> float:
    """The mean L1 distance between rows."""
    return float((one - other).abs().sum(dim=1).mean())
