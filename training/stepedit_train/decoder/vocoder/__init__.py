"""The vocoder: mel frames to a waveform, learned without an adversary."""
