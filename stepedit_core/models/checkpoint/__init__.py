"""Checkpoints: folders, hubs, safe readers of weights and settings."""
