"""Settings of the assemble and card stages; one file serves both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from stepedit_core.config import GenerationPolicy, SamplingConfig
from stepedit_core.embedded import MAX_BYTES
from stepedit_train.settings import Settings

__all__ = ["AssembleSettings", "KnownPairs", "Part", "Run"]

Part = Literal["language_model", "linguistic", "semantic", "flow", "vocoder", "speaker"]


class Run(Settings):
    """One run that the card tells of."""

    name: str
    """Trained part, in a few words."""
    folder: Path
    """Folder of the run, with ``log.jsonl`` or a Trainer's ``trainer_state.json``."""
    threads: int = Field(default=1, ge=1)
    """Processor threads that it kept busy, for core-hours."""
    steps: int | None = None
    """For runs whose log is gone."""
    core_hours: float | None = None
    """For runs whose log is gone, does not say, or says it of the last part alone."""


class KnownPairs(Settings):
    """Pairs that are not at hand any more, for the card."""

    name: str
    """Name of their folder."""
    rows: int = Field(ge=0)
    """Number of pairs."""
    hours: float = Field(ge=0)
    """Hours of sources and targets together."""


class AssembleSettings(Settings):
    """Settings of the assemble and card stages."""

    out: Path
    """Engine folder to make."""
    name: str = "stepedit embedded"
    """Name of the model, for the card."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that the model was taught, such as ``en``; none: not said."""
    language_model: Path
    """Folder with ``config.json``, weights and text tokenizer; or a run of the sft stage that has
    not ended, whose newest checkpoint is taken."""
    edit_weights: dict[str, Path] = Field(default_factory=dict)
    """Name of weights that single edits ask for (``weights`` of ``generation``) to the folder of
    that language model, which is of the same kind."""
    text_tokenizer: Path | None = None
    """Folder with the text tokenizer, where it is not beside the weights."""
    tokenizer: Path
    """Step-Audio-Tokenizer folder."""
    decoder: Path
    """Folder with the weights ``flow.*`` and ``hift.*``, and with ``cosyvoice.yaml``, or with
    ``flow.yaml`` and ``hift.yaml`` that it is joined from."""
    decoder_weights: dict[str, Path] = Field(default_factory=dict)
    """Label of edits (``Plan.label``) to the file that mel-export wrote for it: weights of the mel
    decoder that decode them in place of the decoder's own."""
    vocoder: Path | None = None
    """Folder with ``hift.*``, where it is not the decoder's."""
    speaker: Path = Path("resemblyzer")
    """File of a speaker encoder (``campplus.onnx`` or ``resemblyzer.safetensors``), or
    ``resemblyzer`` for the weights in the installed package of that name."""
    half: tuple[Part, ...] = (
        "language_model",
        "linguistic",
        "semantic",
        "flow",
        "vocoder",
        "speaker",
    )
    """Parts whose weights are stored as float16; they are float32 again when loaded on a CPU."""
    sampling: SamplingConfig = SamplingConfig()
    """Rules of sampling that the model sets where its user does not: the fields given here."""
    generation: GenerationPolicy = GenerationPolicy()
    """Rules of generation, likewise; old configurations have these fields under ``sampling``."""
    longest_seconds: dict[str, float] = Field(default_factory=dict)
    """Edit to the seconds that the model edits well at once; longer utterances go in stretches."""
    replay: Path | None = None
    """Rows against forgetting that the replay stage wrote, to be shipped."""
    reader: Path | None = None
    """Phone reader that the reader stage wrote, to be shipped."""
    max_bytes: int = Field(default=MAX_BYTES, ge=1)
    """A larger folder is refused."""
    figures: Path | None = None
    """Figures that a benchmark measured with this model (``figures.json``), to be shipped."""
    routes: Path | None = None
    """Table of the better route for each edit (``routes.json``), to be shipped."""
    readme: Path | None = None
    """File whose table between figure marks is filled in from the figures."""
    caches: tuple[Path, ...] = ()
    """Caches of the recordings that were trained on, for hours and licences."""
    pairs: tuple[Path, ...] = ()
    """Folders of `stepedit pairs` that the language model was trained on."""
    known_pairs: tuple[KnownPairs, ...] = ()
    """Pairs that it was trained on and whose folders are gone."""
    runs: tuple[Run, ...] = ()
    """Runs that the parts come from, for steps and core-hours."""
    machine: str = ""
    """Machine that it was trained on; empty describes the one that assembles."""
    keep_card: bool = False
    """Card stage: keep what the card says of parts, data and training, and write state, figures and
    routes anew; for a model whose training folders are not at hand."""
    notes: tuple[str, ...] = ()
    """Further paragraphs for the card: what is known to be missing."""
