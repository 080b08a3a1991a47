"""Simulated tournaments whose truth is known, for `benchmarks/coverage.py`."""
