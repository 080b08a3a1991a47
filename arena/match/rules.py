"""The version of the rules, which increases when a change of the game, rather than of a player, can change a result."""

RULES = "3"
