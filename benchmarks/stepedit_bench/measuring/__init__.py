"""Measurements that scorers and preservation share; each backend loads on first use."""

from __future__ import annotations

from stepedit_bench.measuring.standard import MeasureConfig, StandardMeasures

__all__ = ["MeasureConfig", "StandardMeasures"]
