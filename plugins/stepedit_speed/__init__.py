"""The speed edit: hook implementations."""
