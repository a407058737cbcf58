"""Watches a model in production: what its log and the outcomes show, beside the rows that it was made of."""
