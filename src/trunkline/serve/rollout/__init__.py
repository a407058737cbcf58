"""A candidate beside the version that is served: which rows it scores, which it answers, and what is logged of it."""
