"""The paralinguistic edit: hook implementations."""
