"""The database: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, delete, event, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from stepedit_core import StepeditError
from stepedit_serve.errors import ApiError
from stepedit_serve.tables import Base, Consent, Node, Session, Voice

__all__ = ["Database", "new_id"]

Owned = TypeVar("Owned", Session, Voice, Consent)


def new_id(kind: str) -> str:
    """Return an id that nobody guesses, such as ``job_...``."""
    return f"{kind}_{secrets.token_urlsafe(15)}"


class Database:
    """Transactions on the tables; every method may be called from any thread."""

    def __init__(self, url: str) -> None:
        """Connect, and make the tables that are not there.

        Raises:
            StepeditError: if the database cannot be opened.
        """
        try:
            self.engine: Engine = create_engine(url, pool_pre_ping=True, pool_size=20)
            if self.is_sqlite:
                event.listen(self.engine, "connect", _sqlite_settings)
            Base.metadata.create_all(self.engine)
        except (SQLAlchemyError, ImportError) as error:
            text = str(error).split("\n")[0]
            raise StepeditError(f"the database cannot be opened: {text}") from error
        self._transactions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file that one process has to itself."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that is committed at the end, or rolled back by an error."""
        with self._transactions.begin() as open_one:
            yield open_one

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    # What keys own -----------------------------------------------------------------------

    def add(self, *rows: Base) -> None:
        """Store new rows, all or none."""
        with self.transaction() as now:
            for row in rows:
                now.add(row)
                now.flush()

    def owned(self, kind: type[Owned], id_: str, owner: str) -> Owned:
        """Return a row that belongs to a key; raises ApiError (404) for others' and unknown ids."""
        with self.transaction() as now:
            row = now.get(kind, id_)
        if row is None or row.owner != owner:
            raise ApiError(404, "not_found", f"there is no such {kind.__name__.lower()}")
        return row

    def all_owned(self, kind: type[Owned], owner: str, most: int = 1000) -> Sequence[Owned]:
        """Return the rows of a key, newest first."""
        query = select(kind).where(kind.owner == owner).order_by(kind.created.desc()).limit(most)
        with self.transaction() as now:
            return now.scalars(query).all()

    def remove_owned(self, kind: type[Owned], id_: str, owner: str) -> None:
        """Remove a row; raises ApiError (404) as `owned` does."""
        self.owned(kind, id_, owner)
        with self.transaction() as now:
            now.execute(delete(kind).where(kind.id == id_))

    # Sessions ----------------------------------------------------------------------------

    def nodes(self, session: str) -> Sequence[Node]:
        """Return the versions of a session, in order of making."""
        with self.transaction() as now:
            query = select(Node).where(Node.session == session).order_by(Node.number)
            return now.scalars(query).all()

    def node(self, session: str, id_: str) -> Node:
        """Return a version; raises ApiError (404)."""
        with self.transaction() as now:
            row = now.get(Node, id_)
        if row is None or row.session != session:
            raise ApiError(404, "not_found", "there is no such version in this session")
        return row

    def node_of_job(self, job: str) -> Node | None:
        """Return the version that a job has made, if it has."""
        with self.transaction() as now:
            return now.scalars(select(Node).where(Node.job == job)).first()

    def append(self, node: Node, *, head_was: str) -> Node:
        """Add a version; the head moves to it if it still is where it was.

        Raises:
            ApiError: (404) if the session was removed meanwhile.
        """
        with self.transaction() as now:
            claimed = now.execute(
                update(Session)
                .where(Session.id == node.session)
                .values(count=Session.count + 1, changed=time.time())
            )
            session = now.get(Session, node.session)
            if session is None or getattr(claimed, "rowcount", 0) != 1:
                raise ApiError(404, "not_found", "the session was removed meanwhile")
            now.refresh(session)
            node.number = session.count - 1
            if session.head == head_was:
                session.head = node.id
            now.add(node)
        return node

    def change_node(self, id_: str, **values: Any) -> None:
        """Set columns of a version."""
        with self.transaction() as now:
            now.execute(update(Node).where(Node.id == id_).values(**values))

    def move_head(self, session: Session, node: str, name: str | None = None) -> None:
        """Move the head of a session, and label the branch where a name is given.

        Raises:
            ApiError: (409) if somebody else moved it since ``session`` was read.
        """
        values: dict[str, Any] = {"head": node, "changed": time.time()}
        if name is not None:
            values["branches"] = {**session.branches, name: node}
        with self.transaction() as now:
            moved = now.execute(
                update(Session)
                .where(Session.id == session.id, Session.head == session.head)
                .values(**values)
            )
            if getattr(moved, "rowcount", 0) != 1:
                raise ApiError(409, "conflict", "somebody moved the head meanwhile; look again")


def _sqlite_settings(connection: Any, record: Any) -> None:
    """Let readers and a writer work side by side, and let a commit survive a power cut."""
    del record
    cursor = connection.cursor()
    for line in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA busy_timeout=20000",
        "PRAGMA foreign_keys=ON",
    ):
        cursor.execute(line)
    cursor.close()
