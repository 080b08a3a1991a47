"""Run folders: creating, opening, locking, reusing and resuming them, for every command that plays."""
