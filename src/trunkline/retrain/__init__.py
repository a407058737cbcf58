"""Proposes that a model learns from newer rows: one pull request that changes declared state, with the evidence."""
