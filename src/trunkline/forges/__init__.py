"""The forge where the repository is hosted: the only package that calls its API."""
