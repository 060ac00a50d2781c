"""Marks: what a file says about itself, in a form that machines read."""
