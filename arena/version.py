"""The version of the package; apart from the public names, so that whoever wants it alone imports nothing else."""

__version__ = "0.1.0"
