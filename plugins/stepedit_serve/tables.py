"""What the service keeps: sessions and their versions, jobs, voices and consents, as tables."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Consent", "Job", "Node", "Session", "Voice"]


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[int]: JSON,
    }


class Session(Base):
    """A recording and the tree of its versions; times are seconds since 1970."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80), index=True)
    title: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    changed: Mapped[float]
    head: Mapped[str] = mapped_column(String(64))
    root: Mapped[str] = mapped_column(String(64))
    branches: Mapped[dict[str, Any]]
    count: Mapped[int]
    """Nodes made so far; the next one's number."""


class Node(Base):
    """One version of a session's recording."""

    __tablename__ = "nodes"
    __table_args__ = (UniqueConstraint("session", "number"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    session: Mapped[str] = mapped_column(
        String(64), ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    parent: Mapped[str | None] = mapped_column(String(64))
    number: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    chain: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    say: Mapped[str | None] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[float]
    seconds: Mapped[float]
    sample_rate: Mapped[int]
    subtype: Mapped[str | None] = mapped_column(String(16))
    transcript: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(String(40))
    alignment: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    notes: Mapped[list[str]]
    job: Mapped[str | None] = mapped_column(String(64), unique=True)
    """The job that made it: a job that is run again makes no second version."""


class Job(Base):
    """A piece of work that was promised."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency"),
        Index("jobs_waiting", "state", "created"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80), index=True)
    idempotency: Mapped[str | None] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(12))
    request: Mapped[dict[str, Any]]
    created: Mapped[float]
    started: Mapped[float | None]
    finished: Mapped[float | None]
    expires: Mapped[float | None]
    done: Mapped[int]
    total: Mapped[int]
    seconds_left: Mapped[float | None]
    attempts: Mapped[int]
    fruitless: Mapped[int]
    """Attempts since the last progress."""
    holder: Mapped[str | None] = mapped_column(String(80))
    """The process that runs it."""
    lease: Mapped[float | None]
    """Until when it is the holder's."""
    cancel: Mapped[bool]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    notes: Mapped[list[str]]
    session: Mapped[str | None] = mapped_column(String(64))
    node: Mapped[str | None] = mapped_column(String(64))


class Voice(Base):
    """A voice that texts can be spoken in."""

    __tablename__ = "voices"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80), index=True)
    name: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    seconds: Mapped[float]
    language: Mapped[str | None] = mapped_column(String(40))
    transcript: Mapped[str] = mapped_column(Text)
    consent: Mapped[str] = mapped_column(Text)
    """The attestation, or the id of the consent recording."""


class Consent(Base):
    """A recording in which a speaker consents."""

    __tablename__ = "consents"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80), index=True)
    name: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(40))
    created: Mapped[float]
