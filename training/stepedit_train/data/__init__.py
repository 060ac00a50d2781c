"""The data stage: corpora to a cache of signals, phones and prosody."""
