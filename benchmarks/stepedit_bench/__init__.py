"""Benchmarks: runner, measurements, judges, suites and reports."""
