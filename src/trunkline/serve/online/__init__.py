"""The features of a request at the moment it is asked, from events that are kept by entity: docs/online.md."""
