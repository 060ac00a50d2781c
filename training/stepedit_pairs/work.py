"""The work of one block: the same function runs in a local process or on a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_core import __version__
from stepedit_core.atomic import write_atomically
from stepedit_core.config import EngineConfig
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import (
    BuildContext,
    CorpusItem,
    EditPair,
    MarginScorer,
    PairBuilder,
    PairJob,
    Rejected,
)
from stepedit_core.registry.registry import Registry, get_registry, load_engine
from stepedit_core.storage.stored_json import json_lines, read_json
from stepedit_pairs.encoding import encode_pairs
from stepedit_pairs.margins import JudgeMargin
from stepedit_pairs.plan import read_block, read_sample
from stepedit_pairs.settings import RunSettings, job_rng
from stepedit_pairs.shards import row_of, write_shard
from stepedit_pairs.tokenizing import TokenizerEngine

__all__ = ["BlockReport", "Workshop", "block_report", "process_block", "read_rejects"]


@dataclass(frozen=True)
class BlockReport:
    """Report of a finished block.

    Attributes:
        index: the block's number.
        jobs: jobs done.
        kept: pairs kept.
        rejected: pairs and files rejected.
        audio_seconds: source audio of the kept pairs, a source of several pairs counted once.
        cpu_seconds: processor time that the block took, helper programs included.
    """

    index: int
    jobs: int
    kept: int
    rejected: int
    audio_seconds: float
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Workshop:
    """State that a worker loads once and uses for all its blocks."""

    settings: RunSettings
    builder: PairBuilder
    plugin: str
    margin: MarginScorer | None
    engine: SpeechEngine | None
    sample: tuple[CorpusItem, ...]

    def draw(self, rng: np.random.Generator, n: int) -> list[CorpusItem]:
        """Draw up to ``n`` different items of the corpus's sample."""
        chosen = rng.permutation(len(self.sample))[:n]
        return [self.sample[int(place)] for place in chosen]


def margin_scorer(registry: Registry, name: str | None) -> MarginScorer | None:
    """Return a margin scorer by name.

    Raises:
        StepeditError: if no plugin brings it, or its judge cannot be loaded.
    """
    if name is None:
        return None
    known = registry.named("stepedit_margin_scorers", lambda scorer: str(scorer.name))
    if name not in known:
        raise StepeditError(f"no margin scorer {name!r}; there is {', '.join(known) or 'none'}")
    scorer: MarginScorer = known[name]
    if isinstance(scorer, JudgeMargin):
        scorer.ready()
    return scorer


@cache
def _workshop(folder: str) -> Workshop:
    """Load what the run in a folder needs, once in each process."""
    root = Path(folder)
    settings = RunSettings.load(root)
    registry = get_registry()
    known = {info.name for info in registry.plugins()}
    for file in settings.plugin_files:
        if Path(file).stem not in known:
            registry.register_file(file)
    edit = registry.edit_info(settings.edit)
    engine: SpeechEngine | None = None
    if settings.engine is not None:
        config = EngineConfig(name_or_path=settings.engine, device=settings.device)
        engine = load_engine(config)
    elif settings.tokenizer is not None:
        engine = TokenizerEngine(settings.tokenizer, settings.device)
    builder = registry.pair_builder(edit.edit_class, settings.builder)
    builder.min_margin = settings.min_margin
    return Workshop(
        settings=settings,
        builder=builder,
        plugin=f"{edit.plugin.distribution} {edit.plugin.version}",
        margin=margin_scorer(registry, settings.margin),
        engine=engine,
        sample=tuple(read_sample(root)),
    )


def _build(shop: Workshop, job: PairJob) -> Iterator[EditPair | Rejected]:
    """Run a builder on a job; what goes wrong becomes a reject and never stops the run."""
    settings = shop.settings
    context = BuildContext(
        rng=job_rng(settings.seed, job.key),
        options=settings.options,
        engine=shop.engine,
        margin=shop.margin,
        sample=shop.draw,
    )
    try:
        for made in shop.builder.build(job, context):
            if isinstance(made, EditPair) and _too_small(made, settings):
                reason = f"margin below {settings.min_margin:g}"
                yield Rejected(reason, {"margin": round(made.margin, 3), **made.details})
            else:
                yield made
    except AudioError as error:
        yield Rejected("bad file", {"error": str(error)})
    except StepeditError as error:
        yield Rejected("cannot build", {"error": str(error)})
    except Exception as error:  # a plugin's builder may raise anything
        yield Rejected("builder error", {"error": f"{type(error).__name__}: {error}"})


def _too_small(pair: EditPair, settings: RunSettings) -> bool:
    """Return whether a pair is below the least margin; one meant to be unchanged never is."""
    return pair.margin < settings.min_margin and not pair.details.get("unchanged")


def _drawn(
    made: Iterable[EditPair | Rejected], settings: RunSettings, job: PairJob
) -> Iterator[EditPair | Rejected]:
    """Draw ``per_job`` of the pairs of a job; the others are rejects that say so."""
    if settings.per_job is None:
        yield from made
        return
    whole = list(made)
    places = [place for place, item in enumerate(whole) if isinstance(item, EditPair)]
    rng = job_rng(settings.seed, f"{job.key}/per_job")
    kept = {places[int(p)] for p in rng.permutation(len(places))[: settings.per_job]}
    for place, item in enumerate(whole):
        if isinstance(item, Rejected) or place in kept:
            yield item
        else:
            yield Rejected(
                f"not drawn, {settings.per_job} of each job are", {"edit": item.edit.name}
            )


def _rows(
    shop: Workshop, made: Sequence[tuple[PairJob, int, EditPair]]
) -> Iterator[tuple[PairJob, dict[str, Any] | Rejected]]:
    """Turn a block's pairs into rows; a pair that cannot be encoded is a reject."""
    provenance = {
        "builder": type(shop.builder).__qualname__,
        "builder_version": shop.builder.version,
        "plugin": shop.plugin,
        "seed": shop.settings.seed,
        "stepedit": __version__,
    }
    encoded = encode_pairs(shop.engine, [pair for _, _, pair in made])
    for (job, number, pair), codes in zip(made, encoded, strict=True):
        if isinstance(codes, StepeditError):
            yield job, Rejected("cannot encode", {"error": str(codes)})
        else:
            yield job, row_of(pair, job, number, codes, provenance)


def _report_path(folder: Path, index: int) -> Path:
    return folder / "blocks" / f"block-{index:06d}.json"


def _cpu_seconds() -> float:
    """Return the processor time of this process and of the programs that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def process_block(
    folder: str, index: int, on_job: Callable[[], None] = lambda: None
) -> BlockReport:
    """Build the pairs of one block and write its shard, its rejects and, last, its report.

    A block counts as done when its report exists; redoing an unfinished one gives the same
    files again, so a kill at any moment loses nothing and doubles nothing.

    Args:
        folder: of the run.
        index: number of the block.
        on_job: called after each job.
    """
    root = Path(folder)
    shop = _workshop(folder)
    begun = _cpu_seconds()
    rows: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []

    def reject(job: PairJob, why: Rejected) -> None:
        paths = [item.path for item in job.items]
        rejects.append({"key": job.key, "paths": paths, **asdict(why)})

    jobs = read_block(root, index)
    pairs: list[tuple[PairJob, int, EditPair]] = []
    for job in jobs:
        for number, made in enumerate(_drawn(_build(shop, job), shop.settings, job)):
            if isinstance(made, Rejected):
                reject(job, made)
            else:
                pairs.append((job, number, made))
        on_job()
    sources: dict[str, float] = {}
    for (_, _, pair), (job, row) in zip(pairs, _rows(shop, pairs), strict=True):
        if isinstance(row, Rejected):
            reject(job, row)
        else:
            rows.append(row)
            sources[pair.source.digest] = pair.source.seconds
    engine = shop.engine
    write_shard(
        root, index, rows, engine.fingerprint if isinstance(engine, TokenizerEngine) else None
    )
    lines = "".join(json.dumps(row, ensure_ascii=False, default=float) + "\n" for row in rejects)
    write_atomically(root / "rejects" / f"block-{index:06d}.jsonl", lines)
    spent = _cpu_seconds() - begun
    heard = float(sum(sources.values()))
    report = BlockReport(index, len(jobs), len(rows), len(rejects), heard, spent)
    write_atomically(_report_path(root, index), json.dumps(asdict(report)))
    return report


def block_report(folder: Path, index: int) -> BlockReport | None:
    """Return the report of a finished block, or None.

    Raises:
        StepeditError: if it is damaged, or its shard is gone.
    """
    path = _report_path(folder, index)
    if not path.exists():
        return None
    cure = f"delete {path} and call the same command again: it does the block again"
    data = read_json(path, cure)
    try:
        report = BlockReport(**data)
        whole = report.index == index and min(report.jobs, report.kept, report.rejected) >= 0
    except TypeError:
        whole = False
    if not whole:
        raise StepeditError(f"{path}: damaged (no report of block {index}); {cure}")
    if not (folder / "shards" / f"part-{index:06d}.parquet").is_file():
        raise StepeditError(f"{path}: the shard of this block is gone; {cure}")
    return report


def read_rejects(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all rejects of a run: key, paths, reason and details.

    Raises:
        StepeditError: naming the line that is damaged.
    """
    for path in sorted((folder / "rejects").glob("block-*.jsonl")):
        cure = f"delete {folder / 'blocks' / path.stem}.json and call the same command again"
        for number, row in json_lines(path, cure, encoding="utf-8"):
            if not {"key", "paths", "reason", "details"} <= row.keys():
                raise StepeditError(f"{path}, line {number}: damaged (no reject); {cure}")
            yield row
