"""The verdict of a rollout as a page with pictures."""
