"""What each stage of training is called and who runs it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from stepedit_core.errors import StepeditError
from stepedit_train.settings import load_settings

__all__ = ["STAGES", "run_stage"]

# Modules are named, not imported: most of them need torch, and one of them runs.
STAGES: dict[str, tuple[str, str, str]] = {
    "data": ("data.stage", "DataSettings", "make_cache"),
    "validation-speech": ("data.held", "HeldSettings", "write_manifest"),
    "pieces": ("data.pieces", "PiecesSettings", "make_pieces"),
    "synthesise": ("synthesis.stage", "SynthesisSettings", "synthesise"),
    "linguistic": ("linguistic.stage", "LinguisticSettings", "train_linguistic"),
    "linguistic-codebook": ("linguistic.codebook", "CodebookSettings", "make_codebook"),
    "semantic": ("semantic.stage", "SemanticSettings", "train_semantic"),
    "semantic-export": ("semantic.export", "SemanticExportSettings", "export_semantic"),
    "vocoder": ("vocoder.stage", "VocoderSettings", "train_vocoder"),
    "vocoder-export": ("vocoder.export", "VocoderExportSettings", "export_vocoder"),
    "mel-data": ("mel.data", "MelDataSettings", "make_mel_data"),
    "mel": ("mel.stage", "MelSettings", "train_mel"),
    "mel-export": ("mel.export", "MelExportSettings", "export_mel"),
    "flow": ("flow.stage", "FlowSettings", "train_flow"),
    "flow-export": ("flow.export", "FlowExportSettings", "export_flow"),
    "llm-base": ("sft.base", "BaseSettings", "make_base"),
    "pretrain": ("pretrain.stage", "PretrainSettings", "train_pretrain"),
    "replay": ("sft.replay", "ReplaySettings", "make_replay"),
    "sft": ("sft.stage", "SftSettings", "train_sft"),
    "assemble": ("assembly.stage", "AssembleSettings", "assemble"),
    "card": ("assembly.stage", "AssembleSettings", "make_card"),
}
"""Module below this package, class of the settings, and function, by stage."""


def run_stage(stage: str, config: Path, given: Iterable[str] = ()) -> Iterator[str]:
    """Run a stage and yield lines that say what was done.

    Args:
        stage: its name.
        config: TOML file with its settings.
        given: changes to them, as ``name=value`` with the value in TOML's notation.

    Raises:
        StepeditError: if a setting is wrong or the stage cannot be run.
    """
    if stage not in STAGES:
        raise StepeditError(f"there is no training stage {stage!r}")
    name, settings, function = STAGES[stage]
    module = importlib.import_module(f"stepedit_train.{name}")
    yield from getattr(module, function)(load_settings(getattr(module, settings), config, given))
