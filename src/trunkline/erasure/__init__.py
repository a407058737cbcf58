"""A person's erasure: where their rows are, what can be erased at once, and what others hold and until when."""
