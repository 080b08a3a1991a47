"""Scores. Integers are counted here, and divided only once, by the reader."""
