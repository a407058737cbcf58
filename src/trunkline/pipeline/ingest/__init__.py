"""Stage ingest: the declared tables, read from where they are, as Parquet."""
