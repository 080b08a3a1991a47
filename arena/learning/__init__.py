"""Training code that both sides share; it knows no game."""
