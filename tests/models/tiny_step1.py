"""Small random Step1 models and a hand-made vocabulary for the tests of this folder."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import torch

from stepedit_core.models.lm.step1 import Step1Config, Step1ForCausalLM
from stepedit_core.models.lm.token_layout import TokenLayout

LAYOUT = TokenLayout(audio_base=324, eot=3)


def tiny_config(**changes: object) -> Step1Config:
    """Six heads in two groups: a head count that is no power of two, and shared keys."""
    sizes: dict[str, object] = {
        "vocab_size": 324 + 5120,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_attention_groups": 2,
        "max_seq_len": 4096,
        "initializer_range": 0.4,
    }
    return Step1Config(**{**sizes, **changes})


def tiny_model(seed: int = 0, **changes: object) -> Step1ForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Step1ForCausalLM(tiny_config(**changes)).eval()


def prompts(count: int = 3, seed: int = 0) -> list[list[int]]:
    """Prompts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(68, 5000, (7 + 5 * index,), generator=generator).tolist()
        for index in range(count)
    ]


def golden_model(folder: Path) -> Step1ForCausalLM:
    from stepedit_core.models.lm.step1 import load_step1

    return load_step1(folder / "Step-Audio-EditX", dtype=torch.float32)


def sentencepiece_proto(words: Iterable[tuple[str, float]], audio: int = 5120) -> bytes:
    """Serialise a unigram vocabulary in the layout of the real one, with own words."""
    pieces: list[tuple[str, float, int]] = [("<unk>", 0.0, 2)]
    pieces += [(mark, 0.0, 3) for mark in ("<s>", "</s>", "<|EOT|>", "<|BOT|>")]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(word, score, 1) for word, score in words]
    pieces += [("<pad_0>", 0.0, 4)]
    pieces += [(f"<audio_{index}>", 0.0, 4) for index in range(audio)]
    out = bytearray()
    for text, score, kind in pieces:
        raw = text.encode()
        body = bytes((0x0A, len(raw))) + raw + b"\x15" + struct.pack("<f", score)
        body += bytes((0x18, kind))
        out += bytes((0x0A, len(body))) + body
    return bytes(out) + b"\x12\x02\x18\x01"  # a trainer_spec, which the reader must pass over
