"""Published attacks, one a file."""
