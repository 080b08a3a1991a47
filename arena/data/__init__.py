"""Data sets, their splits, and what attackers and defenders draw from instead: pools, outliers, generated images."""
