"""Results of tiny seeded decoders, recorded when the code agreed with the public one's tensors.

They hold the architecture in place where those tensors are not at hand. Run this file as a module
(``python -m tests.models.decoder.test_decoder_recorded``) to print the values anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stepedit_core.models.decoder.decoder import Decoder
from stepedit_core.models.decoder.streaming import StreamDecoder
from stepedit_core.models.decoder.vocoder import Vocoder
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
    return [round(float(x), 5) for x in [*picked, np.abs(flat).mean()]]


RECORDED: dict[str, list[float]] = {
    "mel": [
        0.27927,
        -1.84605,
        5.00661,
        1.9276,
        2.06766,
        1.81406,
        3.3875,
        2.54256,
        -1.30658,
        1.34283,
    ],
    "mel without key bias": [
        2.46789,
        -1.23963,
        4.75087,
        1.09279,
        -1.91695,
        0.98916,
        2.58651,
        -1.24472,
        2.16036,
        1.43495,
    ],
    "hift": [
        -0.07795,
        0.015,
        0.01224,
        0.01706,
        0.01498,
        0.02211,
        0.02026,
        0.00957,
        0.04818,
        0.03248,
    ],
    "bigvgan": [
        0.01776,
        0.14835,
        0.15644,
        0.11434,
        0.10539,
        0.09301,
        0.13607,
        0.20382,
        0.24865,
        0.32346,
    ],
    "hift stream": [
        -0.07826,
        0.01691,
        0.02078,
        0.0303,
        0.00902,
        -0.01447,
        0.01318,
        0.01526,
        0.04892,
        0.03271,
    ],
    "bigvgan stream": [
        0.03517,
        0.14319,
        0.08413,
        0.08045,
        0.24037,
        0.2315,
        0.13849,
        0.14291,
        0.1599,
        0.31818,
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_as_recorded(case: str) -> None:
    # HiFT sums its phase up in float32, so its samples depend a little on the machine.
    atol = 1e-4 if "mel" in case else 1e-3
    np.testing.assert_allclose(summary(CASES[case]()), RECORDED[case], rtol=0, atol=atol)


if __name__ == "__main__":
    for name, make in CASES.items():
        print(f'    "{name}": {summary(make())},')
