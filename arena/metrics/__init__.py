"""Scores: integers are counted here and divided once, by the reader."""
