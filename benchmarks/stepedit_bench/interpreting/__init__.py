"""Benchmark of interpreters: instructions with the chains that they ask for."""
