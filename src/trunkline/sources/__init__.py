"""Where tables are kept, one module per place: read exactly what conf/data has pinned, and say what that was."""
