"""Measurements of `Accept`: edits, chains and iterations with and without limits."""
