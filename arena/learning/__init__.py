"""Training code that attacks, defenses and the referee share; it knows nothing of matches."""
