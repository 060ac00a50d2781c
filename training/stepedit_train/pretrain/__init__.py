"""Pre-training of the language model on text, on codes, and on speech with its words."""

# transformers.Trainer imports torchaudio, which this repairs where its binary part is missing.
import stepedit_core.models.checkpoint.torchaudio_compat  # noqa: F401
