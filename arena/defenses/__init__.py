"""Defenses against model extraction, one published method per file."""
