"""Outcomes of predictions, which arrive later: kept beside the log, and joined with it as of any moment."""
