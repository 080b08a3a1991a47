"""Attacks, one published method per file."""
