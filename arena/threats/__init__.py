"""What a clone is good for, one published attack a file; the referee runs them when a match is over."""
