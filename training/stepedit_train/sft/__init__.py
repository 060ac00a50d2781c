"""Supervised fine-tuning of the language model on large-margin pairs."""
