"""The rules of a tournament: what is played, in which order, how faults are settled, what is remembered."""
