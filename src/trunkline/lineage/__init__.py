"""Where a prediction came from, and who let it."""
