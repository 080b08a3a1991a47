"""Defenses, one published method per file."""
