"""Stage features: point-in-time features and the split of rows into windows."""
