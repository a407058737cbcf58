"""MLflow's model registry, and a bundle as a model that it can serve."""
