"""Open ONNX graphs with onnxruntime on the CPU or CUDA, with errors that name the file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from stepedit_core.errors import CheckpointError, EngineError, MissingDependencyError

__all__ = ["OnnxGraph", "Provider", "resolve_provider"]

logger = logging.getLogger(__name__)

Provider = Literal["auto", "cpu", "cuda"]
CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"


def resolve_provider(device: str, provider: Provider = "auto") -> Literal["cpu", "cuda"]:
    """Decide where ONNX graphs run.

    Args:
        device: torch device of the rest of the engine, such as ``cuda:0``.
        provider: ``auto`` takes CUDA if the device is CUDA and onnxruntime can use it, and
            otherwise the CPU, with a warning in the log; ``cuda`` insists.

    Raises:
        MissingDependencyError: if CUDA is insisted on and onnxruntime cannot use it.
    """
    wants_cuda = provider == "cuda" or (provider == "auto" and device.startswith("cuda"))
    if not wants_cuda:
        return "cpu"
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        return "cuda"
    cure = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
    if provider == "cuda":
        raise MissingDependencyError(f"this onnxruntime has no CUDA provider: {cure}")
    logger.warning("ONNX parts run on the CPU: this onnxruntime has no CUDA provider (%s)", cure)
    return "cpu"


def _device_index(device: str) -> int:
    _, _, index = device.partition(":")
    return int(index) if index else 0


class OnnxGraph:
    """One inference session; safe to call from several threads.

    Attributes:
        path: the file, for messages.
        input_shapes: per input, sizes, with None for free axes.
    """

    def __init__(
        self,
        path: Path | str,
        device: str = "cpu",
        *,
        provider: Provider = "auto",
        threads: int | None = None,
    ) -> None:
        """Open a graph.

        Args:
            path: an ``.onnx`` file.
            device: torch device of the rest of the engine.
            provider: see :func:`resolve_provider`.
            threads: CPU threads per call; as many as PyTorch takes if None. Left to itself,
                onnxruntime takes all cores, and those that wait for work keep them busy.

        Raises:
            CheckpointError: if the file is missing, truncated or no ONNX graph.
            MissingDependencyError: if CUDA is insisted on and absent.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise CheckpointError(f"{self.path} is missing: download the checkpoint again")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        options.inter_op_num_threads = 1
        providers: list[Any] = [CPU_PROVIDER]
        if resolve_provider(device, provider) == "cuda":
            providers.insert(0, (CUDA_PROVIDER, {"device_id": _device_index(device)}))
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), sess_options=options, providers=providers
            )
        except Exception as error:  # onnxruntime raises classes of its own without a base
            raise CheckpointError(
                f"{self.path} is not a readable ONNX graph ({_first_line(error)}): "
                "download the checkpoint again"
            ) from error
        inputs = self._session.get_inputs()
        self._names = [value.name for value in inputs]
        self.input_shapes = [
            [size if isinstance(size, int) else None for size in value.shape] for value in inputs
        ]

    def require_inputs(self, ranks: Sequence[int]) -> None:
        """Refuse a graph whose inputs do not have these numbers of axes.

        Raises:
            CheckpointError: if the graph is another one.
        """
        found = [len(shape) for shape in self.input_shapes]
        if found != list(ranks):
            raise CheckpointError(
                f"{self.path} has inputs of {found} axes instead of {list(ranks)}: it is another "
                "graph, download the checkpoint again"
            )

    def __call__(self, *inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run on inputs by position and return the first output.

        Raises:
            EngineError: if the graph refuses them.
        """
        try:
            feed = dict(zip(self._names, inputs, strict=True))
            return np.asarray(self._session.run(None, feed)[0])
        except Exception as error:  # see above
            raise EngineError(f"{self.path} failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
