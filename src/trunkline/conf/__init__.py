"""conf/ as types: a module for each group, models/registry.yaml, and the grammar of versions."""
