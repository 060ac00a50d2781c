"""The clone edit: hook implementations."""
