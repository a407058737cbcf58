"""The typed structure of conf/: one module per top-level group, so that a stage depends on its groups only."""
