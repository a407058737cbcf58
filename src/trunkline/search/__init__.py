"""Looks for a better model than the declared one: what is tried, on which rows, and what comes of it."""
