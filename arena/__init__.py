"""Measures how well model extraction attacks copy a model by querying it, and what defenses achieve and cost."""

from arena.protection import Protected, protect
from arena.results import results
from arena.version import __version__

__all__ = ["Protected", "__version__", "protect", "results"]
