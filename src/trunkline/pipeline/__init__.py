"""A room for each stage of dvc.yaml; the plan, and the merges of what the stages write."""
