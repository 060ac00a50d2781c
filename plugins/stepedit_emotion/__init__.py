"""The emotion edit: hook implementations."""
