"""What each stage of training is called and who runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stepedit_core.errors import StepeditError
from stepedit_train.settings import load_settings

__all__ = ["run_stage"]


def run_stage(stage: str, config: Path, given: Iterable[str] = ()) -> Iterator[str]:
    """Run a stage and yield lines that say what was done.

    Args:
        stage: its name.
        config: TOML file with its settings.
        given: changes to them, as ``name=value`` with the value in TOML's notation.

    Raises:
        StepeditError: if a setting is wrong or the stage cannot be run.
    """
    if stage == "data":
        from stepedit_train.data.stage import DataSettings, make_cache

        yield from make_cache(load_settings(DataSettings, config, given))
    elif stage == "pieces":
        from stepedit_train.data.pieces import PiecesSettings, make_pieces

        yield from make_pieces(load_settings(PiecesSettings, config, given))
    elif stage == "linguistic":
        from stepedit_train.linguistic.stage import LinguisticSettings, train_linguistic

        yield from train_linguistic(load_settings(LinguisticSettings, config, given))
    elif stage == "linguistic-codebook":
        from stepedit_train.linguistic.codebook import CodebookSettings, make_codebook

        yield from make_codebook(load_settings(CodebookSettings, config, given))
    elif stage == "semantic":
        from stepedit_train.semantic.stage import SemanticSettings, train_semantic

        yield from train_semantic(load_settings(SemanticSettings, config, given))
    elif stage == "semantic-export":
        from stepedit_train.semantic.export import SemanticExportSettings, export_semantic

        yield from export_semantic(load_settings(SemanticExportSettings, config, given))
    elif stage == "vocoder":
        from stepedit_train.vocoder.stage import VocoderSettings, train_vocoder

        yield from train_vocoder(load_settings(VocoderSettings, config, given))
    elif stage == "sft":
        from stepedit_train.sft.stage import SftSettings, train_sft

        yield from train_sft(load_settings(SftSettings, config, given))
    else:
        raise StepeditError(f"there is no training stage {stage!r}")
