"""Weights of the language model for single edits, beside those for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stepedit_core.errors import CheckpointError
from stepedit_core.models.lm.step1.network import Step1Network

__all__ = ["EditWeights"]


class EditWeights:
    """Fine-tuned copies of a language model, each in a folder of the model's, as edits name them.

    A copy is loaded when an edit first asks for it (``GenerationPolicy.weights``), and kept. The
    engine's lock is held meanwhile, as for all of the model's work.
    """

    def __init__(
        self, folder: Path, names: Iterable[str], load: Callable[[Path], Step1Network]
    ) -> None:
        """Take the folders' names; nothing is read yet.

        Args:
            folder: of the model.
            names: of folders in it, with ``config.json`` and safetensors each.
            load: reads one.

        Raises:
            CheckpointError: if a folder is missing; the text names it.
        """
        self._folders = {name: folder / name for name in names}
        for path in self._folders.values():
            if not (path / "config.json").is_file():
                raise CheckpointError(
                    f"{path / 'config.json'} is missing, though sampling.json names these weights: "
                    "download the model again"
                )
        self._load = load
        self._loaded: dict[str, Step1Network] = {}

    def network(self, name: str, like: Step1Network) -> Step1Network:
        """Return the copy of a name.

        Args:
            name: as ``sampling.json`` has it.
            like: the model whose vocabulary and context it shares.

        Raises:
            CheckpointError: if its files are damaged, its vocabulary or context is not the
                model's, or no such copy was named when the model was loaded.
        """
        if name not in self._loaded:
            path = self._folders.get(name)
            if path is None:
                raise CheckpointError(f"the model brings no weights {name!r} of an edit's own")
            network = self._load(path)
            for size in ("vocab_size", "max_seq_len"):
                own, other = getattr(network.config, size), getattr(like.config, size)
                if own != other:
                    raise CheckpointError(
                        f"{path / 'config.json'}: {size} is {own}, and {other} in the model beside "
                        "it; both must share it"
                    )
            self._loaded[name] = network
        return self._loaded[name]

    def loaded(self) -> Iterator[Step1Network]:
        """Yield the copies that were asked for."""
        yield from self._loaded.values()
