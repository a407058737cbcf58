"""A joint model of several sites, which publish signed bundles and no rows: what is joined, and whether it helps."""
