"""A game with a referee for model stealing: attacks query defended victims, the referee meters and scores."""

from arena.protection import Protected, protect
from arena.version import __version__

__all__ = ["Protected", "__version__", "protect"]
