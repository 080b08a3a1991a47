"""Published defenses, one a file."""
