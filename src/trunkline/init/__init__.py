"""A project from a table: what its columns look like, what is guessed from that, and the files that say so."""
