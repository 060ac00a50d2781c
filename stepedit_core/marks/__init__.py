"""Marks: provenance of edited audio in machine-readable form."""
