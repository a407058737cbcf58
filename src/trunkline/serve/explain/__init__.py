"""What each feature adds to a row's score, computed exactly from the bundle's graph."""
