"""Building blocks that only defenses use."""
