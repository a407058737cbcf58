"""Stage gate: the declared rules judged, and the self-test that shows that they can fail."""
