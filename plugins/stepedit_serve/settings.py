"""How a service is set up, and the bounds that it keeps."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from stepedit_serve.machine import cores

__all__ = ["ServeSettings"]

_MB = 1 << 20


class ServeSettings(BaseModel):
    """Settings of one service."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    engine: str | None = "embedded"
    """Engine of the llm route: a name, folder or hub id; None serves signal processing alone."""
    device: str = "auto"
    dtype: str = "auto"
    quantize: str | None = None
    data: Path = Path("stepedit-data")
    """Folder of the database, of audio and of uploads under way."""
    database: str | None = None
    """SQLAlchemy URL; a SQLite file in ``data`` by default."""
    audio: str | None = None
    """fsspec URL of the audio store; a folder in ``data`` by default."""
    shared: bool = False
    """Whether several processes share the stores; one that has them alone takes over at its start
    what it left undone, others wait until a claim has run out."""
    keys: Path | None = None
    """File of hashed bearer keys; without one nobody is asked."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may call the service; none by default."""
    hosts: tuple[str, ...] = ()
    """Names that the service goes by; other ``Host`` headers are refused. None refuses none."""
    mark: str = "auto"
    """Mark that audio carries: a name, ``auto`` (the first that a plugin brings) or ``none``."""

    max_body: int = Field(default=2048 * _MB, ge=1024)
    """Bytes of a job's or session's upload."""
    max_edit_body: int = Field(default=128 * _MB, ge=1024)
    """Bytes of other uploads."""
    max_json_body: int = Field(default=4 * _MB, ge=1024)
    """Bytes of a JSON body."""
    max_seconds: float = Field(default=300.0, gt=0)
    """Longest recording of a request that is answered at once."""
    max_session_seconds: float = Field(default=2 * 3600.0, gt=0)
    """Longest recording of a session."""
    max_job_seconds: float = Field(default=4 * 3600.0, gt=0)
    """Longest recording of a job."""
    long_seconds: float = Field(default=60.0, gt=0)
    """Recordings longer than this are edited piece by piece."""
    decode_memory: int = Field(default=1024 * _MB, ge=64 * _MB)
    """Bytes that reading an upload may take beyond the decoder's own."""
    decode_seconds: float = Field(default=60.0, gt=0)
    """Seconds of a processor that reading an upload may take; jobs and sessions have ten times as
    long."""
    decoders: int = Field(default=4, ge=1, le=64)
    """Uploads that are read at once."""

    parallel: int = Field(default=32, ge=1, le=256)
    """Chains that are under way at once; the engine takes their steps in batches."""
    max_waiting: int = Field(default=256, ge=1)
    """Requests that may wait for that; more are sent away with status 503."""
    engines: int = Field(default=1, ge=0, le=64)
    """Processes with an engine each, on several cards where there are; they share the requests.
    0 keeps one engine in the process that answers."""
    max_batch: int = Field(default=16, ge=1, le=256)
    """Items of one batch of the engine."""
    workers: int = Field(default_factory=lambda: min(8, cores()), ge=1, le=64)
    """Processes for signal processing, recognisers and aligners."""
    job_workers: int = Field(default=2, ge=1, le=64)
    """Jobs that run at once."""
    job_hours: float = Field(default=24.0, gt=0)
    """How long a job's result is kept."""
    lease_seconds: float = Field(default=30.0, gt=0)
    """How long a job belongs to a process that says nothing; then another one takes it over."""

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{(self.data / 'stepedit.sqlite').absolute()}"

    @property
    def audio_url(self) -> str:
        """The fsspec URL of the audio store."""
        return self.audio or (self.data / "audio").absolute().as_uri()

    @property
    def spool(self) -> Path:
        """Folder of uploads and results under way."""
        return self.data / "spool"
