"""Scores with a bundle: files of rows, in batches."""
