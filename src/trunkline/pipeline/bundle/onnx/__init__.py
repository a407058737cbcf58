"""A fitted pipeline as a graph that scores exactly as it does."""
