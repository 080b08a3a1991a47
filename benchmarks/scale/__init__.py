"""Loads for `benchmarks/scaling.py` that run in processes of their own."""
