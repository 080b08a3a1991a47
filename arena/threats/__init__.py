"""What a clone can be used for, one published attack per file; the referee runs them after a match."""
