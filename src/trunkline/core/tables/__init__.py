"""Tables of rows: read as a contract's types, evaluated by expressions, and written as Parquet."""
