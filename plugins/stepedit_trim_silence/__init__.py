"""The trim_silence edit: hook implementations."""
