"""Which version runs where: proposals, moves of versions between environments, reconciliation, MLflow."""
