"""Rollouts: a candidate beside the version that runs, judged by the log of predictions, and moved step by step."""
