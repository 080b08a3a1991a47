"""Records what players state about their own play, as measures of a result."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from arena.contracts import MeasureName
from arena.contracts.scores import fact_measure

MOST_FACTS = 16  # of one player in one match: facts are for reading
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


class Facts:
    """The facts that one player has stated in one match; its `note` is what the player is given."""

    def __init__(self, player: Literal["attack", "defense"]) -> None:
        self._player = player
        self._values: dict[str, float] = {}

    def note(self, name: str, value: float) -> None:
        """See `arena.contracts.Note`."""
        if not _NAME.fullmatch(name) or not math.isfinite(value):
            message = f"{name!r} = {value} is no fact: use a short name of a-z, 0-9 and _, and a finite number"
            raise ValueError(message)
        if name not in self._values and len(self._values) == MOST_FACTS:
            message = f"{name!r} is one fact too many: state at most {MOST_FACTS}"
            raise ValueError(message)
        self._values[name] = float(value)

    @property
    def measures(self) -> Mapping[MeasureName, float]:
        """The facts so far, as measures named ``attack/fact/NAME`` or ``defense/fact/NAME``."""
        return {fact_measure(self._player, name): value for name, value in self._values.items()}
