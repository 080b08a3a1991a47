"""What the referee gives a threat, over the toy oracles of the attacks."""

import torch

from arena.contracts import ThreatContext
from arena.learning.training import one_hot


def threat_context(inputs, labels, *, pool=None, bought=None, judge=None, seconds=60.0):
    def unsure(rows):
        return torch.full((len(rows), int(labels.max()) + 1), 1 / (int(labels.max()) + 1))

    return ThreatContext(
        test=(inputs, labels),
        training=(inputs, labels),
        transfer_set=(inputs, one_hot(labels, int(labels.max()) + 1)) if bought is None else bought,
        pool=inputs if pool is None else pool,
        judge=judge or unsure,
        device=torch.device("cpu"),
        time_left=lambda: seconds,
    )
