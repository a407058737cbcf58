"""Stage compose: conf/ composed by Hydra, judged, and written as params.yaml."""
