"""The templates of ``arena new``: ordinary modules, checked like all others, in which names are replaced."""
