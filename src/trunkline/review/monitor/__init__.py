"""What was watched of a model in production, as a page with pictures."""
