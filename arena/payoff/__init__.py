"""Results as a game: matrix, equilibrium, ranking, paired comparison."""
