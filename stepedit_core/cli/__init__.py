"""The ``stepedit`` command line."""
