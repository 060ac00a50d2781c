"""Trained parts become one engine folder in the public layout, with a model card."""
