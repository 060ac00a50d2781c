"""Training stages, from tokenizers to fine-tuning on large-margin pairs."""
