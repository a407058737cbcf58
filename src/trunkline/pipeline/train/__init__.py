"""Stage train: the chosen estimator, fitted and kept."""
