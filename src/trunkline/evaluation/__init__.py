"""How good scores are on a holdout: metrics by slice, with intervals, and curves."""
