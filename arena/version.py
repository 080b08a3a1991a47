"""The version of the package, in a module of its own that imports nothing else."""

__version__ = "0.1.0"
