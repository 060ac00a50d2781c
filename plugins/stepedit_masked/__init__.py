"""The masked edit: hook implementations."""
