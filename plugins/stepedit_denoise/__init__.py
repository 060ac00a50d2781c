"""The denoise edit: hook implementations."""
