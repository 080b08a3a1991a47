"""Plays entries, which are players from folders, without ever importing them: each runs in a sandbox of its own."""
