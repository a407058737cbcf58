"""git, by its command: a repository's files, its trunk, its remote."""
