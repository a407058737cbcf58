"""Stage champion: the scores that the model in production gives the holdout."""
