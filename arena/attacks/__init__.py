"""Model extraction attacks, one published method per file."""
