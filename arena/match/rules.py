"""The version of the rules: it goes up when a change of the game, not of a player, can move a result."""

RULES = "2"
