"""The decoder: codes and a reference to mels, and mels to a waveform."""
