"""What Prometheus is told: requests, batches, audio and queues; never texts."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one service."""

    def __init__(self) -> None:
        """Make the figures in a registry of their own."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "stepedit_requests", "Requests.", ("method", "route", "status"), registry=self.registry
        )
        self.latency = Histogram(
            "stepedit_request_seconds",
            "Seconds until the answer was sent.",
            ("method", "route"),
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.audio = Counter(
            "stepedit_audio_seconds", "Seconds of audio received.", registry=self.registry
        )
        self.edits = Counter(
            "stepedit_edits", "Finished edits.", ("edit", "route"), registry=self.registry
        )
        self.batches = Histogram(
            "stepedit_batch_items",
            "Items of the engine's batches.",
            ("stage",),
            buckets=_BATCH,
            registry=self.registry,
        )
        self.stages = Counter(
            "stepedit_engine_seconds", "Seconds of the engine.", ("stage",), registry=self.registry
        )
        self.jobs = Counter(
            "stepedit_jobs", "Jobs that ended.", ("kind", "state"), registry=self.registry
        )
        self.first_audio = Histogram(
            "stepedit_first_audio_seconds",
            "Seconds until the first streamed audio.",
            buckets=_LATENCY,
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a figure that is looked up when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def on_batch(self, stage: str, items: int, seconds: float) -> None:
        """Note a batch of the engine."""
        self.batches.labels(stage).observe(items)
        self.stages.labels(stage).inc(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
