"""Figures of an engine: every row of the model card, measured on held-out speakers."""
