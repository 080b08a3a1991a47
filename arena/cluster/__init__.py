"""Matches on Ray: the only folder that imports ray."""
