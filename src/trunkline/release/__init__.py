"""A version: provenance, signature, tag, verification."""
