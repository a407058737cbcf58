"""Stage search: the trials of the declared search, and what it chose."""
