"""Stage evaluate: metrics with intervals, per slice, and curves."""
