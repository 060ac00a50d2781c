"""Modules built without weights draw nothing; the embedded engine imports little."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from stepedit_core.models.checkpoint.weights import without_weights


@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
def test_draws_become_empty(draw: Callable[..., torch.Tensor]) -> None:
    with without_weights():
        made = draw(2, 3, dtype=torch.float16, generator=torch.Generator())
    assert made.device.type == "meta"
    assert made.shape == (2, 3)
    assert made.dtype == torch.float16


def test_initialisers_return_their_tensor() -> None:
    with without_weights():
        weight = torch.empty(2, 3)
        assert nn.init.normal_(weight) is weight


def test_the_embedded_engine_loads_nothing_that_it_does_not_use() -> None:
    code = (
        "import sys; from stepedit_core.models.engine import Engine; Engine.load('embedded'); "
        "unused = {'sympy', 'torch._dynamo', 'numba', 'transformers'}; "
        "sys.exit(bool(unused & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
