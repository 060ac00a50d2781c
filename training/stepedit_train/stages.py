"""The training stages: names, settings classes and functions."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from stepedit_core.errors import StepeditError
from stepedit_core.storage.locking import sole_run
from stepedit_train.settings import (
    RenamedSetting,
    RunSettings,
    Settings,
    apply_changes,
    load_phases,
    note_finished,
    read_toml,
    was_finished,
)

__all__ = ["STAGES", "Stage", "check_notation", "run_stage", "settings_of"]


class Stage(NamedTuple):
    """One stage.

    Attributes:
        module: below this package.
        settings: name of the class of its settings there.
        function: name of what runs it there.
        what: it does, in a few words.
    """

    module: str
    settings: str
    function: str
    what: str


# Modules are named, not imported: most of them need torch, and one of them runs.
STAGES: dict[str, Stage] = {
    "data": Stage(
        "data.stage",
        "DataSettings",
        "make_cache",
        "decode corpora into a cache of audio, phones, codes, voices and pitch",
    ),
    "validation-speech": Stage(
        "data.validation_manifest",
        "ValidationManifestSettings",
        "write_manifest",
        "write a manifest of the validation speakers",
    ),
    "pieces": Stage(
        "data.pieces",
        "PiecesSettings",
        "make_pieces",
        "cut cached recordings into a corpus of utterances",
    ),
    "synthesise": Stage(
        "synthesis.stage",
        "SynthesisSettings",
        "synthesise",
        "have sentences spoken by free text-to-speech voices",
    ),
    "linguistic": Stage(
        "tokenizers.linguistic.stage",
        "LinguisticSettings",
        "train_linguistic",
        "teach the linguistic encoder phones",
    ),
    "linguistic-codebook": Stage(
        "tokenizers.linguistic.codebook",
        "CodebookSettings",
        "make_codebook",
        "fit its k-means and write a tokenizer folder",
    ),
    "semantic": Stage(
        "tokenizers.semantic.stage",
        "SemanticSettings",
        "train_semantic",
        "teach the semantic encoder and its quantiser",
    ),
    "semantic-export": Stage(
        "tokenizers.semantic.export",
        "SemanticExportSettings",
        "export_semantic",
        "write it as ONNX into the tokenizer folder",
    ),
    "vocoder": Stage(
        "decoder.vocoder.stage",
        "VocoderSettings",
        "train_vocoder",
        "teach the vocoder to speak mels",
    ),
    "vocoder-export": Stage(
        "decoder.export",
        "VocoderExportSettings",
        "export_vocoder",
        "write its weights for a decoder folder",
    ),
    "mel-data": Stage(
        "decoder.data",
        "MelDataSettings",
        "make_mel_data",
        "lay the mels of recordings and pairs on their codes",
    ),
    "drawn-codes": Stage(
        "decoder.drawn",
        "DrawnCodesSettings",
        "draw_codes",
        "draw the codes of recorded targets by the language model, for the mel decoder",
    ),
    "mel": Stage(
        "decoder.mel.stage",
        "MelSettings",
        "train_mel",
        "teach the mel decoder that looks into its reference",
    ),
    "mel-export": Stage(
        "decoder.export",
        "MelExportSettings",
        "export_mel",
        "write its weights for a decoder folder",
    ),
    "flow": Stage(
        "decoder.flow.stage",
        "FlowSettings",
        "train_flow",
        "teach the decoder of the public checkpoint by flow matching",
    ),
    "flow-export": Stage(
        "decoder.export",
        "FlowExportSettings",
        "export_flow",
        "write its weights for a decoder folder",
    ),
    "llm-base": Stage(
        "lm.base", "BaseSettings", "make_base", "write a language model of random weights"
    ),
    "pretrain": Stage(
        "lm.pretrain",
        "PretrainSettings",
        "train_pretrain",
        "teach the language model text, codes, and both",
    ),
    "reader": Stage(
        "reader.stage",
        "ReaderSettings",
        "train_reader",
        "learn to hear phones in codes, to choose among answers",
    ),
    "replay": Stage(
        "lm.replay",
        "ReplaySettings",
        "make_replay",
        "write the rows that keep a model from forgetting",
    ),
    "sft": Stage(
        "lm.sft",
        "SftSettings",
        "train_sft",
        "fine-tune the language model on pairs; with --edits, add edits",
    ),
    "reward": Stage(
        "rl.reward_stage",
        "RewardModelSettings",
        "train_reward",
        "train a reward model on preferences",
    ),
    "dpo": Stage(
        "rl.dpo", "DpoSettings", "train_dpo", "optimise the language model on preferences directly"
    ),
    "grpo": Stage(
        "rl.grpo",
        "GrpoSettings",
        "train_grpo",
        "learn from rewards of groups of answers, such as scorers'",
    ),
    "ppo": Stage(
        "rl.ppo", "PpoSettings", "train_ppo", "learn from rewards with a critic, token by token"
    ),
    "assemble": Stage(
        "assembly.stage", "AssembleSettings", "assemble", "join the parts into one engine folder"
    ),
    "card": Stage(
        "assembly.stage",
        "AssembleSettings",
        "make_card",
        "put measured figures into that folder and its card",
    ),
}


def settings_of(stage: str) -> type[Settings]:
    """Return the class of a stage's settings; raises StepeditError for an unknown stage."""
    found = _known(stage)
    kind: type[Settings] = getattr(_module(found), found.settings)
    return kind


def _known(stage: str) -> Stage:
    if stage not in STAGES:
        raise StepeditError(f"there is no training stage {stage!r}")
    return STAGES[stage]


def _module(stage: Stage) -> ModuleType:
    return importlib.import_module(f"stepedit_train.{stage.module}")


def check_notation(config: Path, given: Iterable[str]) -> None:
    """Hold that a settings file is TOML and that changes are ``name=value``, at no cost.

    Which settings a stage has is known once its module is imported, and torch with it: a slip of
    notation is told before.

    Raises:
        StepeditError: if one is not.
    """
    read_toml(config)
    apply_changes({}, given)


def run_stage(stage: str, config: Path, given: Iterable[str] = ()) -> Iterator[str]:
    """Run a stage, all of its phases, and yield lines that say what was done.

    Args:
        stage: its name.
        config: TOML file with its settings.
        given: changes to them, as ``name=value`` with the value in TOML's notation.

    Raises:
        StepeditError: if a setting is wrong or the stage cannot be run.
    """
    check_notation(config, given)
    function = getattr(_module(_known(stage)), STAGES[stage].function)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", RenamedSetting)
        phases = load_phases(settings_of(stage), config, given)
    yield from dict.fromkeys(f"{config}: {note.message}" for note in notes)
    for number, settings in enumerate(phases, start=1):
        if not isinstance(settings, RunSettings):
            yield from function(settings)
            return
        if number < len(phases) and was_finished(settings):
            yield f"phase {number} of {len(phases)} is finished"
            continue
        if len(phases) > 1:
            yield f"phase {number} of {len(phases)}"
        with sole_run(settings.folder()):
            yield from function(settings)
        if not settings.is_finished():
            return
        note_finished(settings)
