"""The style edit: hook implementations."""
