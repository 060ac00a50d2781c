"""``stepedit serve``: run the service, or make a key for it."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import sys
from pathlib import Path
from typing import Any

import click

from stepedit_core import MissingDependencyError

__all__ = ["serve"]

_NEEDED = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "sqlalchemy": "sqlalchemy",
    "fsspec": "fsspec",
    "prometheus_client": "prometheus-client",
}


@click.command(short_help="Serve edits, sessions and speech over HTTP, and the studio page.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--engine",
    default="embedded",
    show_default=True,
    metavar="NAME_OR_PATH",
    help="Engine of the llm route; 'none' serves signal processing alone.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype", default="auto", type=click.Choice(["auto", "float32", "bfloat16", "float16"])
)
@click.option("--quantize", type=click.Choice(["int8", "int4"]))
@click.option(
    "--data",
    default="stepedit-data",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of sessions, jobs and audio.",
)
@click.option("--database", metavar="URL", help="SQLAlchemy URL; a SQLite file in --data.")
@click.option("--audio", metavar="URL", help="fsspec URL of the audio, such as s3://BUCKET/PATH.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of hashed bearer keys; without it nobody is asked for one.",
)
@click.option("--new-key", metavar="NAME", help="Add a key to --keys, print it, and end.")
@click.option("--cors", multiple=True, metavar="ORIGIN", help="Origin whose pages may call.")
@click.option("--mark", default="auto", show_default=True, help="Mark of edited audio, or 'none'.")
@click.option(
    "--engines", type=click.IntRange(0, 64), help="Processes with an engine each [one a core]."
)
@click.option("--max-batch", type=click.IntRange(1, 256), help="Items of one batch [16].")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes for signal processing.")
@click.option(
    "--max-seconds", type=click.FloatRange(1, 3600), help="Longest recording of a request."
)
@click.option("--ray", is_flag=True, help="Deploy the app on Ray Serve (extra 'ray').")
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1, 256))
@click.option("--open-to-all", is_flag=True, help="Listen beyond this machine without keys.")
def serve(host: str, port: int, new_key: str | None, **options: Any) -> None:
    """Serve edits, sessions, jobs and OpenAI's speech routes over HTTP.

    One engine serves everybody; requests that come together are one batch. Listens on this machine
    alone unless --host says otherwise, which needs --keys.

    Example: stepedit serve --port 8765
    """
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"stepedit serve needs {', '.join(missing)}: pip install 'stepedit[serve]'"
        )
    if new_key is not None:
        _print_new_key(new_key, options["keys"])
        return
    open_to_all = options.pop("open_to_all")
    _check_host(host, options["keys"], open_to_all)
    if options["keys"] is None and not open_to_all:
        options["hosts"] = ("localhost", "127.0.0.1", "[::1]", host)
    if options.pop("ray"):
        from stepedit_serve.ray_app import serve_on_ray

        settings = _settings(options | {"shared": True})
        serve_on_ray(settings, host, port, options["replicas"])
        return
    _serve_here(host, port, options)


def _print_new_key(name: str, file: Path | None) -> None:
    """Add a key to the key file and print it."""
    from stepedit_serve.keys import new_key

    if file is None:
        raise click.UsageError("--new-key adds to a key file: give --keys FILE too")
    click.echo(new_key(name, file))
    click.echo(f"{file}: added the hash of key {name!r}; it is shown this once", err=True)


def _check_host(host: str, keys: Path | None, open_to_all: bool) -> None:
    """Refuse to let everybody in by accident."""
    if keys is not None or open_to_all or host == "localhost":
        return
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise click.UsageError(
            f"--host {host} can be reached by others: give --keys FILE, or --open-to-all"
        )


def _settings(options: dict[str, Any]) -> Any:
    """Return the settings that the command line asks for."""
    from stepedit_serve.settings import ServeSettings

    chosen = {
        name: value
        for name, value in options.items()
        if name in ServeSettings.model_fields and value is not None
    }
    if chosen.get("engine") == "none":
        chosen["engine"] = None
    return ServeSettings(**chosen)


def _serve_here(host: str, port: int, options: dict[str, Any]) -> None:
    """Run the service in this process until it is told to end."""
    from stepedit_serve.app import create_app
    from stepedit_serve.machine import engines_for
    from stepedit_serve.server import bound, run

    if options["engines"] is None:
        options["engines"] = engines_for(options["engine"], options["device"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.setswitchinterval(0.001)  # threads that calculate hand over to those that answer
    with bound(host, port) as listening:
        run(create_app(_settings(options)), listening)
