"""How much of a change of the metrics each cause has."""
