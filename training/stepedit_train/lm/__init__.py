"""Supervised fine-tuning of the language model on large-margin pairs."""

# transformers.Trainer imports torchaudio, which this repairs where its binary part is missing.
import stepedit_core.models.checkpoint.torchaudio_compat  # noqa: F401
