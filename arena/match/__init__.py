"""One match: admission, preparation, the order of its stages, the attack's play, and scoring by the referee."""
