"""Stage bundle: the deployable model, explained, exported and compared with the evaluated pipeline."""
