"""What is outside and may fail: git, DVC, forges, MLflow, each behind a module that says what it is asked."""
