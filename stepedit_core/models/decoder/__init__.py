"""Codes to audio: mel decoders, vocoders, streaming."""
