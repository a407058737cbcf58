"""Stage track: a run of MLflow for what the pipeline made."""
