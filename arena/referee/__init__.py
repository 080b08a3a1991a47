"""The rules of a tournament: which matches are played, in which order, how faults are settled, what can be reused."""
