"""What ``arena new`` writes: ordinary modules, checked as all of them are, in which names are replaced."""
