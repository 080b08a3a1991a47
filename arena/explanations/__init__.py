"""How a network explains its answers, one published method a file."""
