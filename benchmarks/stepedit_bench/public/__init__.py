"""Public test sets of others as suites, each read from a folder with the user's own copy."""
