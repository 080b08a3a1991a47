"""Facts that players state about their own play; results show them, and nothing is scored or ranked by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Note: TypeAlias = Callable[[str, float], None]
"""States a fact: a short name in lower case, such as ``calibration_rows``, and a finite number.

The last number of a name counts. Raises ValueError for a bad name, for a number that is not finite, and for too many
names.
"""


def unnoted(name: str, value: float) -> None:
    """Ignore a fact, where no result is made."""
