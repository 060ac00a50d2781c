"""Audio at rest: a folder, or any store that fsspec knows, such as S3."""

from __future__ import annotations

import secrets
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from stepedit_core import StepeditError

__all__ = ["AudioStore"]


class AudioStore:
    """Files by key; a key appears when its file is complete."""

    def __init__(self, url: str) -> None:
        """Open the store.

        Args:
            url: such as ``file:///var/lib/stepedit``, ``s3://bucket/folder`` or ``memory://x``.

        Raises:
            StepeditError: if fsspec does not know the protocol.
        """
        protocol, _, rest = url.partition(":")
        is_slip = rest.startswith("/") and not rest.startswith("//")
        if is_slip and protocol in fsspec.available_protocols():  # it would be a folder "s3:" here
            raise StepeditError(f"audio store {url!r}: write {protocol}:/{rest}")
        try:
            # Listings that are kept would hide what another replica has stored since.
            filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise StepeditError(f"audio store {url!r}: {error}") from error
        self._files: Any = filesystem
        self._root = PurePosixPath(str(root))
        self._is_local = "file" in (
            filesystem.protocol
            if isinstance(filesystem.protocol, tuple)
            else (filesystem.protocol,)
        )
        self._files.makedirs(str(self._root), exist_ok=True)

    def _path(self, key: str) -> str:
        """Return where a key lies; keys are made here and hold no way out of the folder."""
        parts = PurePosixPath(key).parts
        if not parts or any(part in ("..", "/") for part in parts):
            raise StepeditError(f"no key of the audio store: {key[:80]!r}")
        return str(self._root / key)

    def put(self, key: str, source: Path) -> None:
        """Store a file under a key."""
        path = self._path(key)
        self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        if not self._is_local:  # object stores show an object when it is complete
            self._files.put_file(str(source), path)
            return
        partial = Path(f"{path}.{secrets.token_hex(4)}.partial")
        try:
            self._files.put_file(str(source), str(partial))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def fetch(self, key: str, target: Path) -> Path:
        """Copy a file out of the store; return the path to read, which may be the store's own.

        Raises:
            StepeditError: if there is no such file.
        """
        path = self._path(key)
        if self._is_local:
            if not Path(path).is_file():
                raise StepeditError("the audio is no longer in the store")
            return Path(path)
        try:
            self._files.get_file(path, str(target))
        except FileNotFoundError as error:
            raise StepeditError("the audio is no longer in the store") from error
        return target

    def exists(self, key: str) -> bool:
        """Say whether there is a file under a key."""
        return bool(self._files.exists(self._path(key)))

    def remove(self, prefix: str) -> None:
        """Remove a key, or all keys below it; what is not there is no error."""
        path = self._path(prefix)
        try:
            self._files.rm(path, recursive=True)
        except FileNotFoundError:
            return
