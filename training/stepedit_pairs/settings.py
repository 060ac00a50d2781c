"""Settings of a run of a pair builder, kept beside its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.storage.stored_json import parse_json

__all__ = ["RunSettings", "job_rng"]

FILE = "run.json"


class RunSettings(BaseModel):
    """Everything that decides which rows a run gives; it does not name the workers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    edit: str
    """Registered name of the edit."""
    corpus: str
    """Manifest, folder or dataset; several are joined by blanks around a plus."""
    layout: str
    """Name of the corpus reader."""
    encoding: str | None = None
    """Encoding of a manifest; None: found."""
    delimiter: str | None = None
    """Character between a manifest's fields; None: found."""
    seed: int = 0
    """Seeds every job, together with the job's key."""
    options: Mapping[str, str] = {}
    """The user's settings for the builder."""
    builder: str | None = None
    """Plugin whose builder is used where several bring one."""
    builder_version: int = 1
    """Version of the builder."""
    margin: str | None = None
    """Name of the margin scorer."""
    min_margin: float = 6.0
    """Pairs below are rejected."""
    split: str | None = None
    """Only items of this split."""
    where: Mapping[str, str] = {}
    """Only items with these labels or facts."""
    licence: str | None = None
    """Licence of items whose corpus states none."""
    include: tuple[str, ...] = ()
    """Only items whose id matches one of these patterns."""
    limit: int | None = None
    """Only so many jobs, the first ones."""
    sample: int | None = None
    """Only so many jobs, drawn evenly from all."""
    per_job: int | None = None
    """Only so many of the pairs of a job, drawn evenly from those that are good enough."""
    block_size: int | None = None
    """Jobs in a block; a block is one shard, and the unit of work and of resuming.

    None: 32, or an eighth of the jobs (8 or more) where they are few, for several workers.
    The number of workers never decides it, because it decides the shards.
    """
    engine: str | None = None
    """Engine for codes and cloning."""
    tokenizer: str | None = None
    """Step-Audio-Tokenizer folder for codes, where no engine is given."""
    device: str = "auto"
    """Device of the engine or the tokenizer."""
    plugin_files: tuple[str, ...] = ()
    """Plugins given as files."""
    stepedit: str = ""
    """Version of stepedit."""

    def save(self, folder: Path) -> None:
        """Write the settings into a run's folder."""
        write_atomically(folder / FILE, self.model_dump_json(indent=2))

    @classmethod
    def load(cls, folder: Path) -> RunSettings:
        """Read the settings of a run.

        Raises:
            StepeditError: if the folder holds no run.
        """
        try:
            text = (folder / FILE).read_bytes()
        except OSError as error:
            why = f"{FILE}: {error.strerror}"
            raise StepeditError(f"{folder}: not a folder of `stepedit pairs` ({why})") from error
        try:
            return cls.model_validate(parse_json(text))
        except ValidationError as error:
            why = explain_validation(error)
            raise StepeditError(f"{folder / FILE}: not settings of a run ({why})") from error
        except ValueError as error:
            raise StepeditError(
                f"{folder / FILE}: damaged ({error}); restore it, or build the pairs anew"
            ) from error

    def difference(self, other: RunSettings) -> str:
        """Return the settings that differ, as ``name: mine, theirs``; empty if none does.

        A block size that is not given goes on with the blocks that there are.
        """
        mine, theirs = json.loads(self.model_dump_json()), json.loads(other.model_dump_json())
        free = {"device"} | ({"block_size"} if self.block_size is None else set())
        names = [name for name in mine if mine[name] != theirs[name] and name not in free]
        return "; ".join(f"{name}: {mine[name]!r}, before {theirs[name]!r}" for name in names)


def job_rng(seed: int, key: str) -> np.random.Generator:
    """Return the generator of a job, from the run's seed and the job's key alone."""
    words = np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng([abs(seed), *(int(word) for word in words)])
