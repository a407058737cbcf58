"""The metrics: what each needs of a row, and how it is computed from resamples."""
