"""Building blocks that only attacks use."""
