import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.learning.architectures import build

TABLE = Task(shape=(8,), classes=3)


def test_an_mlp_of_any_width_has_a_name():
    network = build("mlp-5", TABLE, rng=torch.Generator().manual_seed(0))
    assert network.architecture == "mlp-5"
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(5, 8), (5,), (3, 5), (3,)]


@pytest.mark.parametrize("name", ["mlp-0", "mlp-", "mlp-05", "mlp-1.5", "mlp-9999999", "mlp64"])
def test_a_width_that_is_none_is_refused_by_name(name):
    with pytest.raises(BadParameter, match=f"no architecture '{name}'"):
        build(name, TABLE, rng=torch.Generator().manual_seed(0))
