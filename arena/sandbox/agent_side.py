"""In a sandbox, this file stands in for ``arena/__init__.py``: entries import parts of the package, never all of it."""
