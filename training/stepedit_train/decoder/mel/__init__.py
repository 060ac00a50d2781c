"""The mel decoder: tokens and a reference to mel spectrograms."""
