"""A version's dossier as a page."""
