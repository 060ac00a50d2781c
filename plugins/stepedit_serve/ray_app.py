"""The same app as a Ray Serve deployment: replicas with an engine each, one queue of jobs.

Requests go to any replica. Sessions, jobs and audio are in stores that all replicas share: SQLite
and a folder on one machine, PostgreSQL and an object store on several. A job is claimed by one
replica; where that one dies, another takes the job over.
"""

from __future__ import annotations

import signal
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from stepedit_core import MissingDependencyError

if TYPE_CHECKING:
    from stepedit_serve.settings import ServeSettings

__all__ = ["deploy", "deployment", "serve_on_ray"]

NAME = "stepedit"
ONGOING = 16
"""Requests of a replica beyond which another one is started."""


def deployment(settings: ServeSettings, replicas: int, *, gpus: float = 0.0) -> Any:
    """Return the deployment, bound and ready to run.

    Args:
        settings: of each replica; their stores are shared.
        replicas: the most there are; there is always one.
        gpus: of each replica.

    Raises:
        MissingDependencyError: if Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise MissingDependencyError(
            f"--ray needs Ray Serve ({error}): pip install 'stepedit[serve,ray]'"
        ) from error

    def build() -> Any:
        from stepedit_serve.app import create_app

        return create_app(settings)

    scaling = {
        "min_replicas": 1,
        "initial_replicas": replicas,
        "max_replicas": replicas,
        "target_ongoing_requests": ONGOING,
    }
    made: Any = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        autoscaling_config=scaling,
        max_ongoing_requests=4 * ONGOING,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
    )
    return made.bind()


def deploy(settings: ServeSettings, host: str, port: int, replicas: int) -> None:
    """Start Ray Serve, or join the one that runs, and wait until the replicas answer."""
    ray: Any = import_module("ray")
    serve: Any = import_module("ray.serve")
    gpus = 1.0 if ray.is_initialized() and ray.cluster_resources().get("GPU") else 0.0
    serve.start(http_options={"host": host, "port": port})
    serve.run(deployment(settings, replicas, gpus=gpus), name=NAME, route_prefix="/")


def serve_on_ray(settings: ServeSettings, host: str, port: int, replicas: int) -> None:
    """Serve until the process is told to end."""
    bound = deployment(settings, replicas)  # says so where Ray Serve is not there
    del bound
    ray: Any = import_module("ray")
    serve: Any = import_module("ray.serve")
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    deploy(settings, host, port, replicas)
    click.echo(f"listening on http://{host}:{port}, {replicas} replicas", err=True)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        while not ended.wait(1.0):
            continue
    finally:
        serve.shutdown()
