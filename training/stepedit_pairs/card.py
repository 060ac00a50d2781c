"""The dataset card of a run, as Hugging Face's hub reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import printable
from stepedit_core.registry.registry import get_registry
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import SCHEMA
from stepedit_pairs.summary import RunSummary, summarise
from stepedit_pairs.work import margin_scorer

__all__ = ["write_card"]

# Identifiers of the hub for licences as corpora write them; anything else is "other".
_HUB_LICENCES = {
    "cc by 4.0": "cc-by-4.0", "cc-by-4.0": "cc-by-4.0", "cc by 3.0": "cc-by-3.0",
    "cc by-sa 3.0": "cc-by-sa-3.0", "cc by-sa 4.0": "cc-by-sa-4.0", "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0", "cc by-nc-sa 4.0": "cc-by-nc-sa-4.0", "apache-2.0": "apache-2.0",
    "odbl-1.0": "odbl", "mit": "mit",
}  # fmt: skip
_ESCAPED = {"<": "&lt;", ">": "&gt;"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_COLUMN_HELP = {
    "id": "job key and number of the pair in it",
    "edit": "registered name of the edit",
    "edit_json": "the request that leads from source to target",
    "source_audio": "before the edit; FLAC",
    "target_audio": "after the edit; FLAC",
    "rejected_audio": "a worse answer, in preference pairs",
    "source_text": "words of the source",
    "target_text": "words of the target",
    "source_codes": "codes as <audio_N> marks, where an engine was given",
    "source_start": "second of the source at which its codes begin",
    "target_start": "second of the target at which its codes begin",
    "details": "what the builder did and measured, as JSON",
    "margin": "how strongly the two differ along the edited attribute, 1 to 10",
    "items": "ids of the recordings used",
    "licence": "licence of the recordings used",
    "seed": "seed of the run",
}


def write_card(out: Path) -> Path:
    """Write the dataset card of a run as ``README.md`` in its folder."""
    settings, summary = RunSettings.load(out), summarise(out)
    front = yaml.safe_dump(_front(settings, summary), sort_keys=False, allow_unicode=True)
    path = out / "README.md"
    write_atomically(path, f"---\n{front}---\n{_text(settings, summary)}")
    return path


def _front(settings: RunSettings, summary: RunSummary) -> dict[str, Any]:
    """Return the card's metadata."""
    licences = [name for name in summary.counts["licence"] if name != "unknown"]
    known = {_HUB_LICENCES.get(name.lower(), "other") for name in licences} or {"unknown"}
    front: dict[str, Any] = {
        "pretty_name": f"stepedit pairs: {settings.edit}",
        "license": sorted(known) if len(known) > 1 else known.pop(),
    }
    if "other" in str(front["license"]):
        front["license_name"] = "; ".join(sorted(licences))
    languages = sorted(set(summary.counts["language"]) - {"unknown"})
    if languages:
        front["language"] = languages
    size = next((label for limit, label in _SIZES if summary.pairs < limit), "n>1M")
    return {
        **front,
        "task_categories": ["audio-to-audio"],
        "tags": ["speech-editing", "stepedit", settings.edit],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": "shards/part-*.parquet"}],
    }


def _text(settings: RunSettings, summary: RunSummary) -> str:
    """Return the card's body."""
    source, target = summary.hours()
    builder = ", ".join(sorted(summary.counts["builder"])) or f"version {settings.builder_version}"
    plugin = ", ".join(sorted(summary.counts["plugin"])) or "unknown"
    edit = re.sub(r"[^\w:.-]", "", settings.edit)  # it stands in code, where nothing is escaped
    lines = [
        f"# Large-margin pairs for `{edit}`",
        "",
        f"Made by `stepedit pairs {edit}` (stepedit {_plain(settings.stepedit)}); each row is a "
        "source, a target and the edit that leads from one to the other.",
        "",
        f"- **Pairs**: {summary.pairs} ({source:.2f} h of source, {target:.2f} h of target audio; "
        f"{summary.with_codes} with codes)",
        f"- **Rejected**: {sum(summary.rejects.values())}"
        + "".join(f"; {_plain(reason)}: {count}" for reason, count in summary.rejects.items()),
        f"- **Speakers**: {len(set(summary.counts['speaker']) - {'unknown'})}",
        f"- **Corpora**: {_counted(summary, 'corpus')}",
        f"- **Licences of the recordings**: {_counted(summary, 'licence')}",
        f"- **Builder**: {_plain(builder)} ({_plain(plugin)})",
        f"- **Margin**: {_margin(settings)}; pairs below {settings.min_margin:g} are rejected",
        f"- **Seed**: {settings.seed}; options: {_plain(str(dict(settings.options) or 'none'))}",
        f"- **Corpus reader**: {_plain(settings.layout)}",
        "",
        "## Columns",
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
        *(
            f"| `{item.name}` | {_kind(item)} | {_COLUMN_HELP.get(item.name, '')} |"
            for item in SCHEMA
        ),
        "",
    ]
    return "\n".join(lines)


def _kind(item: Any) -> str:
    return "audio" if item.name.endswith("_audio") else str(item.type).replace("|", "")


def _counted(summary: RunSummary, column: str) -> str:
    found = summary.counts[column].most_common(20)
    return ", ".join(f"{_plain(name)} ({count})" for name, count in found) or "none"


def _plain(text: str) -> str:
    """Return a corpus's text as one line of Markdown without HTML, links and pictures."""
    line = printable(text, 300)
    return re.sub(r"([\\`*\[\]<>!|#])", lambda mark: _ESCAPED.get(mark[1], f"\\{mark[1]}"), line)


def _margin(settings: RunSettings) -> str:
    """Return the scorer of the margin, and its validation."""
    if settings.margin is None:
        return "measured by the builder"
    scorer = margin_scorer(get_registry(), settings.margin)
    validation = scorer.validation if scorer is not None else ""
    return f"scorer `{settings.margin}` ({_plain(validation)})"
