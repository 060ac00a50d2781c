"""Results of tiny seeded decoders, recorded when the code agreed with the public one's tensors.

They hold the architecture in place where those tensors are not at hand. Run this file as a module
(``python -m tests.models.test_decoder_recorded``) to print the values anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stepedit_core.models.decoder import Decoder
from stepedit_core.models.streaming import StreamDecoder
from stepedit_core.models.vocoder import Vocoder
from tests.models.decoder_parts import (
    FixedSource,
    fixed_noise,
    reference,
    tiny_bigvgan,
    tiny_flow,
    tiny_hift,
    tokens,
)

FloatArray = npt.NDArray[np.float32]


def mel(key_bias: bool) -> FloatArray:
    decoder = Decoder(tiny_flow(key_bias=key_bias), tiny_hift(), n_steps=4)
    captured: list[torch.Tensor] = []
    decoder.flow.decoder.register_forward_hook(lambda *args: captured.append(args[2]))
    decoder.decode(tokens(4), reference(), flow_noise=fixed_noise(100), source_noise=FixedSource())
    return captured[0].numpy()


def whole(vocoder: Vocoder) -> FloatArray:
    decoder = Decoder(tiny_flow(), vocoder, n_steps=3)
    return decoder.decode(
        tokens(4), reference(), flow_noise=fixed_noise(100), source_noise=FixedSource()
    )


def streamed(vocoder: Vocoder) -> FloatArray:
    decoder = Decoder(tiny_flow(), vocoder, n_steps=2)
    stream = StreamDecoder(
        decoder, reference(), flow_noise=fixed_noise(400), source_noise=FixedSource()
    )
    ids, outs = tokens(50), []
    for at in range(0, len(ids), 25):
        outs.append(stream.push(ids[at : at + 25], last=at + 25 == len(ids)))
    return np.concatenate([out for out in outs if out is not None])


CASES: dict[str, Callable[[], FloatArray]] = {
    "mel": lambda: mel(True),
    "mel without key bias": lambda: mel(False),
    "hift": lambda: whole(tiny_hift()),
    "bigvgan": lambda: whole(tiny_bigvgan()),
    "hift stream": lambda: streamed(tiny_hift()),
    "bigvgan stream": lambda: streamed(tiny_bigvgan()),
}


def summary(values: FloatArray) -> list[float]:
    """Return nine evenly spaced values and the mean size."""
    flat = values.reshape(-1)
    picked = flat[np.linspace(0, len(flat) - 1, 9).astype(int)]
    return [round(float(x), 4) for x in [*picked, np.abs(flat).mean()]]


RECORDED: dict[str, list[float]] = {
    "mel": [0.2793, -1.8461, 5.0066, 1.9276, 2.0677, 1.8141, 3.3875, 2.5426, -1.3066, 1.3428],
    "mel without key bias": [
        2.4679,
        -1.2396,
        4.7509,
        1.0928,
        -1.9169,
        0.9892,
        2.5865,
        -1.2447,
        2.1604,
        1.4349,
    ],
    "hift": [-0.078, 0.015, 0.0122, 0.0171, 0.015, 0.0221, 0.0203, 0.0096, 0.0482, 0.0325],
    "bigvgan": [0.0178, 0.1483, 0.1564, 0.1143, 0.1054, 0.093, 0.1361, 0.2038, 0.2486, 0.3235],
    "hift stream": [
        -0.0783,
        0.0169,
        0.0208,
        0.0303,
        0.009,
        -0.0145,
        0.0132,
        0.0153,
        0.0489,
        0.0327,
    ],
    "bigvgan stream": [
        0.0352,
        0.1432,
        0.0841,
        0.0804,
        0.2404,
        0.2315,
        0.1385,
        0.1429,
        0.1599,
        0.3182,
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_as_recorded(case: str) -> None:
    # HiFT sums its phase up in float32, so its samples depend a little on the machine.
    atol = 2e-3 if "hift" in case else 5e-4
    np.testing.assert_allclose(summary(CASES[case]()), RECORDED[case], rtol=0, atol=atol)


if __name__ == "__main__":
    for name, make in CASES.items():
        print(f'    "{name}": {summary(make())},')
