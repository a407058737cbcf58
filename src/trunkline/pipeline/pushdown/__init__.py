"""The feature plan as one query of another engine's SQL, for tables that stay where they are."""
