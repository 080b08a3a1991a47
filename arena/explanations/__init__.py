"""How a network explains its answers, one published method per file."""
