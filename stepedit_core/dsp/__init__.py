"""The public signal-processing toolkit for plugins: its modules and their names are stable."""
