"""What every stage stands on: errors, files, paths, expressions, and the way a stage runs."""
