"""What every stage stands on: errors, files, paths, expressions, tables of rows, and the way a stage runs."""
