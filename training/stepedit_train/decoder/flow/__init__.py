"""Flow matching: the decoder of the public checkpoint, from token rows to a mel spectrogram."""
