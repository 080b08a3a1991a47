"""A game with a referee for model stealing: attacks query defended victims, the referee meters and scores."""

__version__ = "0.1.0"
