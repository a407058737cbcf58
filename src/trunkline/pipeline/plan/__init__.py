"""What `dvc repro` would run, why, and how long it took before."""
