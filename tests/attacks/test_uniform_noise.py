import torch

from arena.attacks.uniform_noise import UniformNoise
from tests.attacks.toy import VICTIMS, ToyOracle, play


def test_needs_no_pool_and_fills_the_box():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 400)
    play(UniformNoise(steps=5), oracle, rows=0)
    asked = torch.cat(oracle.calls)
    assert abs(float(asked.mean()) - 0.5) < 0.03
    assert float(asked.min()) < 0.01
    assert float(asked.max()) > 0.99
