"""Settings of training stages: pydantic models filled from TOML files, and printed as such.

A file may hold more than settings of one run: ``mixture`` names the table of pair folders that
stages share, and ``[[phase]]`` tables are consecutive runs, each of which begins with the weights
of the one before (`load_phases`).
"""

from __future__ import annotations

import json
import textwrap
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.storage.encodings import not_utf8
from stepedit_core.storage.stored_json import read_json

__all__ = [
    "MixtureRow",
    "MixtureSettings",
    "RenamedSetting",
    "RunSettings",
    "Settings",
    "apply_changes",
    "check_settings",
    "explain",
    "load_phases",
    "load_settings",
    "note_finished",
    "read_toml",
    "resolve_path",
    "was_finished",
]

FINISHED = "finished.json"
"""File in the folder of a run that has come to its end: what its curve depends on."""

S = TypeVar("S", bound="Settings")

_WIDTH = 96


class RenamedSetting(DeprecationWarning):
    """A settings file uses the old name of a setting."""


_LARGEST = 2**63 - 1
"""Largest number: what seeds, steps and journals hold."""


class Settings(BaseModel):
    """Base of all settings: frozen, refuses unknown names.

    Attributes:
        renamed: old names of settings, which are still taken, to their present ones.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )
    renamed: ClassVar[Mapping[str, str]] = {}

    base: Path = Path()
    """Folder that relative paths start from: that of the settings file, unless it is set."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would become a number or a switch without a word: text, true as 1, 1 as true.

        TOML says what it means, so that ``steps = true`` and ``steps = "1_0"`` are slips.
        """
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)} - {type(None)}
        if kinds and kinds <= {int, float}:
            if isinstance(value, bool | str):
                raise ValueError("a number is wanted, without quotes")
            if isinstance(value, int | float) and abs(value) > _LARGEST:
                raise ValueError(f"{_LARGEST} is the most")
        if kinds == {bool} and not isinstance(value, bool):
            raise ValueError("true or false is wanted, without quotes")
        return value

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for old, new in cls.renamed.items():
            if old in data:
                if new in data:
                    raise ValueError(f"{old} is the old name of {new}; give {new} alone")
                note = f"{old} is now called {new}; the old name goes with the next release"
                warnings.warn(note, RenamedSetting, stacklevel=2)
        return cls.with_present_names(data)

    @classmethod
    def with_present_names(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of settings with old names replaced, those of old checkpoints too."""
        return {cls.renamed.get(name, name): value for name, value in data.items()}


class MixtureRow(Settings):
    """One pair folder of a mixture (``[[pairs]]``), and how often the stages see it."""

    path: Path
    """Folder of `stepedit pairs`."""
    language_model: float = Field(default=1.0, ge=0)
    """Times that its rows are seen in an epoch of ``sft``; 0 leaves them out."""
    insertions_only: bool = False
    """The language model copies all but what was put in."""
    decoder: float = Field(default=1.0, ge=0)
    """Examples of ``mel`` for each pair; 0 keeps the folder out of ``mel-data``."""
    reader: bool = False
    """Whether ``reader`` learns from its words."""


class MixtureSettings(Settings):
    """Base of the settings of stages that read pair folders."""

    mixture: Path | None = Field(default=None, exclude=True)
    """File with ``[[pairs]]`` tables that stages share, beside the settings file: it stands for
    what this stage needs of pair folders, unless that is given here."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the settings that a mixture gives this stage."""
        raise NotImplementedError


class RunSettings(Settings):
    """Base of the settings of runs: what is trained in steps, in one phase or several.

    Attributes:
        scaled: settings in steps, which ``scale`` multiplies.
        begins: settings that say what weights the first phase begins with.
        continues: setting that names the run before, and what in its folder.
        free: settings that may change between a run and its continuation.
    """

    scaled: ClassVar[tuple[str, ...]] = ("steps", "warmup")
    begins: ClassVar[tuple[str, ...]] = ()
    continues: ClassVar[tuple[str, str]] = ("start", "")
    free: ClassVar[frozenset[str]] = frozenset({"base", "out"})

    out: Path
    """Folder of the run."""
    scale: float = Field(default=1.0, gt=0, exclude=True)
    """Factor of all settings in steps, so that one number makes a recipe longer or shorter."""
    phase: tuple[dict[str, Any], ...] = Field(default=(), exclude=True)
    """Consecutive phases, as ``[[phase]]`` tables of the settings that differ. Each begins with the
    weights of the one before; all but the last run in ``phase-1``, ``phase-2``, ... of ``out``."""

    def is_finished(self) -> bool:
        """Return whether the run has come to its end."""
        raise NotImplementedError

    def folder(self) -> Path:
        """Return the folder of the run, absolute."""
        return resolve_path(self, self.out)

    def curve(self) -> dict[str, Any]:
        """Return the settings that the loss curve depends on, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.free))

    @classmethod
    def scaled_data(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of settings with ``scale`` carried out."""
        found = dict(data)
        scale = found.pop("scale", 1.0)
        if not isinstance(scale, int | float) or scale <= 0:
            return dict(data)  # refused when the settings are checked
        for name in cls.scaled if scale != 1 else ():
            value = found.get(name, cls.model_fields[name].default)
            if isinstance(value, float):
                found[name] = value * scale
            elif isinstance(value, int) and value > 0:
                found[name] = max(1, round(value * scale))
        return found


def resolve_path(settings: Settings, path: Path) -> Path:
    """Return a path of a settings file, made absolute."""
    return (settings.base / path.expanduser()).resolve()


def _change(data: dict[str, Any], text: str) -> None:
    """Carry out one ``a.b=value``; a value that is no TOML is taken as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise StepeditError(f"--set takes name=value, got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = value
    *parents, last = name.strip().split(".")
    table = data
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise StepeditError(f"--set {text}: {parent} is not a table")
        table = inner
    table[last] = parsed


def apply_changes(data: dict[str, Any], given: Iterable[str]) -> None:
    """Carry out changes, ``name=value`` with dots for tables, on the data of settings.

    Raises:
        StepeditError: if one is not of that form.
    """
    for text in given:
        _change(data, text)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        StepeditError: if it cannot be read or is no TOML; one line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: {not_utf8(error.object)}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StepeditError(f"{path}: is not TOML ({error})") from error


def load_settings(kind: type[S], path: Path, given: Iterable[str] = ()) -> S:
    """Read the settings of a stage that runs once; raises as `load_phases`."""
    return load_phases(kind, path, given)[-1]


def load_phases(kind: type[S], path: Path, given: Iterable[str] = ()) -> list[S]:
    """Read the settings of a stage, of each of its phases in order.

    Args:
        kind: class of the settings.
        path: TOML file.
        given: changes, ``name=value`` with dots for tables; they hold for all phases.

    Raises:
        StepeditError: if the file cannot be read or a setting is wrong; one line.
    """
    data, given = read_toml(path), tuple(given)
    has_phases = issubclass(kind, RunSettings) and bool(data.get("phase"))
    tables = data.pop("phase") if has_phases else [{}]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise StepeditError(f"{path}: phase must be a list of tables, [[phase]]")
    found: list[S] = []
    for number, table in enumerate(tables, start=1):
        merged = _merged(data, table)
        apply_changes(merged, given)
        merged["base"] = path.resolve().parent / str(merged.get("base", ""))
        _add_mixture(kind, merged, path)
        if issubclass(kind, RunSettings):
            merged = kind.scaled_data(merged)
            _place(kind, merged, table, number, len(tables))
        where = f"{path}, phase {number}" if has_phases else str(path)
        found.append(check_settings(kind, merged, where))
    return found


def _merged(data: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with a phase's values in place of its own; tables are joined name by name."""
    both = {
        name: _merged(data[name], value)
        for name, value in table.items()
        if isinstance(value, dict) and isinstance(data.get(name), dict)
    }
    copied = {name: _merged(v, {}) if isinstance(v, dict) else v for name, v in data.items()}
    return {**copied, **table, **both}


def _add_mixture(kind: type[Settings], data: dict[str, Any], path: Path) -> None:
    """Put in what a mixture says, where the file does not say it itself; tables are joined."""
    if not issubclass(kind, MixtureSettings) or data.get("mixture") is None:
        return
    name = data.pop("mixture")
    place = path.resolve().parent / str(name)
    content = read_toml(place)
    if set(content) != {"pairs"} or not isinstance(content["pairs"], list):
        raise StepeditError(f"{place}: is no mixture, which has tables [[pairs]] alone")
    rows = [check_settings(MixtureRow, row, str(place)) for row in content["pairs"]]
    data.update(_merged(kind.of_mixture(rows), data))


def _place(
    kind: type[RunSettings], data: dict[str, Any], table: Mapping[str, Any], number: int, count: int
) -> None:
    """Give a phase its folder, and what it begins with."""
    out = str(data.get("out", ""))
    if number < count:
        data["out"] = f"{out}/phase-{number}"
    if number > 1:
        setting, part = kind.continues
        for name in {setting, *kind.begins} - set(table):
            data.pop(name, None)
        data.setdefault(setting, "/".join(filter(None, (f"{out}/phase-{number - 1}", part))))


def was_finished(settings: RunSettings) -> bool:
    """Return whether a run has come to its end before.

    Raises:
        StepeditError: if it was another run, with other settings.
    """
    path = settings.folder() / FINISHED
    if not path.is_file():
        return False
    if read_json(path, "delete it, and the run goes on from its checkpoints") != settings.curve():
        raise StepeditError(
            f"{settings.folder()}: was finished with other settings; go on with those, or choose "
            "another out folder"
        )
    return True


def note_finished(settings: RunSettings) -> None:
    """Write down that a run has come to its end, and with which settings."""
    content = json.dumps(settings.curve(), indent=1, ensure_ascii=False)
    write_atomically(settings.folder() / FINISHED, content)


def check_settings(kind: type[S], data: Mapping[str, Any], source: str) -> S:
    """Build settings from data; ``source`` is named in errors.

    Raises:
        StepeditError: naming the settings that are wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise StepeditError(f"{source}: {explain_validation(error, kind.model_fields)}") from error


def explain(kind: type[Settings]) -> Iterator[str]:
    """Yield lines of a TOML file: what must be given first, then what may be, with its default.

    Settings without a default that TOML could hold are commented out, as are those that have
    to be given; tables come last, as TOML wants it.
    """
    yield from _comment(_first_paragraph(kind))
    yield ""
    yield from _table(kind, "")


def _table(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    fields = {name: field for name, field in kind.model_fields.items() if name != "base"}
    inner = {name: found for name, field in fields.items() if (found := _models(field))}
    plain = {name: field for name, field in fields.items() if name not in inner}
    for name, field in sorted(plain.items(), key=lambda item: not item[1].is_required()):
        yield from _comment(field.description or "")
        yield _line(name, field)
    for name, (model, is_list) in inner.items():
        path = f"{prefix}{name}"
        yield ""
        yield from _comment(fields[name].description or _first_paragraph(model))
        # A table that need not be there stands for something that is off without it.
        is_off = fields[name].get_default(call_default_factory=True) is None
        lines = [f"[[{path}]]" if is_list else f"[{path}]", *_table(model, f"{path}.")]
        yield from (f"# {line}".rstrip() if is_off else line for line in lines)


def _models(field: FieldInfo) -> tuple[type[BaseModel], bool] | None:
    """Return the settings inside a field, and whether there is a list of them."""
    waiting, is_list = [field.annotation], False
    while waiting:
        one = waiting.pop()
        is_list |= get_origin(one) in (tuple, list)
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one, is_list
        waiting += get_args(one)
    return None


def _line(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"# {name} = ...    (must be given)"
    value = field.get_default(call_default_factory=True)
    written = _written(value)
    return f"# {name} = ..." if written is None else f"{name} = {written}"


def _written(value: Any) -> str | None:
    """Return a value in TOML's notation, or None where it has none."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        parts = [(json.dumps(str(key)), _written(one)) for key, one in value.items()]
        return None if any(p is None for _, p in parts) else _joined("{}", parts)
    if isinstance(value, Sequence | frozenset | set):
        items = [_written(one) for one in value]
        return None if None in items else f"[{', '.join(str(item) for item in items)}]"
    return None


def _joined(marks: str, parts: Sequence[tuple[str, str | None]]) -> str:
    inside = ", ".join(f"{key} = {value}" for key, value in parts)
    return f"{marks[0]} {inside} {marks[1]}" if inside else marks


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _first_paragraph(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or kind.__name__).strip().partition("\n\n")[0]
