"""Every stage of the engine on seeded tiny networks, for recorded outputs in ``tests/goldens``.

    python -m tests.models.golden_stages

writes the outputs anew: only where a stage is meant to give something else. Weights and inputs are
drawn by numpy's legacy generator, whose numbers no release changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from stepedit_bench.speed.encoder import random_encoder
from torch import Tensor

from stepedit_core.models.decoder.decoder import Decoder
from stepedit_core.models.decoder.flow import FlowInput
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.streaming import StreamDecoder
from stepedit_core.models.lm.chat import Turn, encode_prompt
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.reader import PhoneNetwork
from stepedit_core.models.speaker.campplus import load_speaker
from stepedit_core.models.speaker.ge2e import ResemblyzerEncoder
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.tokenizer import features
from stepedit_core.models.tokenizer.linguistic.encoder import SANMConfig
from stepedit_core.models.tokenizer.linguistic.frontend import Cmvn, Frontend, FrontendConfig
from stepedit_core.models.tokenizer.linguistic.tokenizer import LinguisticTokenizer
from stepedit_core.models.tokenizer.semantic import OnnxSemanticTokenizer
from tests.models.audio_cases import write_semantic_graph, write_speaker_graph
from tests.models.decoder_parts import (
    FixedSource,
    fixed_noise,
    randomise,
    reference,
    tiny_bigvgan,
    tiny_flow,
    tiny_hift,
    tokens,
)
from tests.models.tiny_step1 import LAYOUT, sentencepiece_proto, tiny_model

FOLDER = Path(__file__).parents[1] / "goldens"
Arrays = dict[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.float32]
SANM = SANMConfig(
    input_size=56, output_size=16, attention_heads=2, linear_units=24, num_blocks=3, kernel_size=5
)
AUDIO = (17, 1000, 1024, 2048, 5119)
WORDS = "Make it sound happy, 请用开心的语气。\n"


def voice(seconds: float, rate: int, seed: int = 0) -> Floats:
    """Return a gliding harmonic tone in bursts with noise, peak about 0.5, any rate."""
    random = np.random.RandomState(seed)
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * (140 * time + 30 * np.sin(2 * np.pi * time))
    tone = sum(np.sin(phase * k) / k for k in (1, 2, 3, 4, 5))
    burst = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)
    return (0.2 * burst * tone + 0.01 * random.standard_normal(len(time))).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


def mel_features() -> Arrays:
    high, low = torch.from_numpy(voice(0.4, 24_000)), torch.from_numpy(voice(0.4, 16_000))
    return {
        "semantic_log_mel": features.whisper_log_mel(low).numpy(),
        "prompt_mel": features.prompt_mel(high, 24_000).numpy(),
        "prompt_mel_resampled": features.prompt_mel(low, 16_000).numpy(),
        "speaker_fbank": features.speaker_fbank(high, 24_000).numpy(),
        "ge2e_power_mel": features.power_mel(low).numpy(),
    }


def linguistic() -> Arrays:
    encoder = random_encoder(SANM)
    randomise(encoder, 0)
    cmvn = Cmvn(torch.full((56,), -1.5), torch.full((56,), 0.25))
    centroids = normal(32, 16, seed=1).numpy()
    tokenizer = LinguisticTokenizer(Frontend(FrontendConfig(n_mels=8), cmvn), encoder, centroids)
    signals = [voice(1.3, 16_000), voice(0.7, 16_000, seed=1)]
    found: Arrays = {"frames": tokenizer.features(signals[0])[0].numpy()}
    for number, (hidden, codes) in enumerate(
        zip(tokenizer.hidden(signals), tokenizer.encode(signals), strict=True)
    ):
        found |= {f"hidden_{number}": hidden.numpy(), f"codes_{number}": np.asarray(codes)}
    return found


def semantic() -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        write_semantic_graph(Path(folder) / "speech_tokenizer_v1.onnx")
        tokenizer = OnnxSemanticTokenizer.load(Path(folder), threads=1)
        codes = tokenizer.encode([voice(1.3, 16_000), voice(0.7, 16_000, seed=1)])
    return {f"codes_{number}": np.asarray(each) for number, each in enumerate(codes)}


def speaker() -> Arrays:
    encoder = ResemblyzerEncoder(bins=10, hidden=8, layers=2, size=6)
    randomise(encoder, 0)
    encoder.eval()
    signal = voice(2.0, 24_000)
    with tempfile.TemporaryDirectory() as folder:
        write_speaker_graph(Path(folder) / "campplus.onnx")
        graph = load_speaker(Path(folder)).embed(signal, 24_000)
    return {"ge2e": encoder.embed(signal, 24_000).numpy(), "campplus": graph.numpy()}


def prompt_ids() -> Arrays:
    found: Arrays = {}
    words = [("▁Make", -2.0), ("▁it", -2.5), ("▁sound", -3.0), ("▁happy", -3.5), ("开心", -4.0)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(sentencepiece_proto(words))
        for name, tokenizer in (
            ("bytes", ByteTokenizer()),
            ("sentencepiece", load_tokenizer(Path(folder))),
        ):
            for encoding in ("r1", "r2"):
                edit = encode_prompt(
                    tokenizer, Turn("You edit.\n"), Turn(WORDS, AUDIO, "\n"), encoding
                )
                clone = encode_prompt(
                    tokenizer, Turn("Speak like: ", AUDIO, "\n"), Turn("[laugh] Hm."), encoding
                )
                found[f"{name}_{encoding}_edit"] = np.asarray(edit)
                found[f"{name}_{encoding}_clone"] = np.asarray(clone)
    return found


@torch.no_grad()
def language_model() -> Arrays:
    model = tiny_model()
    randomise(model, 0)
    random = np.random.RandomState(0)
    rows = [random.randint(68, 5000, size) for size in (7, 12, 17)]
    ids = torch.from_numpy(rows[2][None])
    first = model(ids[:, :-2], use_cache=True)
    cache = first.past_key_values
    steps = [model(row, past_key_values=cache, use_cache=True) for row in ids[:, -2:].split(1, 1)]
    # Every sixteenth logit: enough to notice any change, and small.
    found: Arrays = {
        "prefill_logits": first.logits[0, :, ::16].numpy(),
        "step_logits": torch.stack([step.logits[0, -1, ::16] for step in steps]).numpy(),
    }
    prompts = [row.tolist() for row in rows]
    request = {"layout": LAYOUT, "max_new_tokens": 40}
    for name, item in enumerate(generate(model, prompts, sampling=GREEDY, **request)):
        found[f"greedy_{name}"] = np.asarray(item.ids)
    held = {"constraints": [grammar(6)] * 3, "seeds": [3, 4, 5], "sampling": Sampling()}
    for name, item in enumerate(generate(model, prompts, **held, **request)):
        found[f"grammar_{name}"] = np.asarray(item.ids)
    return found


def mel_of_flow(key_bias: bool) -> Floats:
    decoder = Decoder(tiny_flow(key_bias=key_bias), tiny_hift(), n_steps=4)
    caught: list[Tensor] = []
    decoder.flow.decoder.register_forward_hook(lambda *made: caught.append(made[2]))
    decoder.decode(tokens(4), reference(), flow_noise=fixed_noise(100), source_noise=FixedSource())
    mel: Floats = caught[0].numpy()
    return mel


def flow_decoder() -> Arrays:
    return {"mel": mel_of_flow(True), "mel_without_key_bias": mel_of_flow(False)}


@torch.no_grad()
def reference_decoder() -> Arrays:
    def rows(groups: int, seed: int) -> Tensor:
        ids = tokens(groups, seed).reshape(-1, 5)
        pair = np.full((groups, 3, 2), 1024)
        pair[:, :2, 0], pair[:, :, 1] = ids[:, :2], ids[:, 2:] + 1
        return torch.from_numpy(pair.reshape(-1, 2))

    found: Arrays = {}
    for name, options in {"content": {}, "path": {"lag": 2}}.items():
        decoder = ReferencedMelDecoder(
            width=24, token_blocks=2, reference_blocks=1, mel_blocks=2, heads=3, spk_embed_dim=6,
            kernel=5, **options,
        )  # fmt: skip
        randomise(decoder, 0)
        mel = 3 * normal(2 * 3 * 8, 80, seed=1) - 5
        item = FlowInput(rows(8, 1), rows(5, 2), mel, normal(6, seed=2), fixed_noise(100))
        found[name] = decoder.eval().generate([item])[0].numpy()
    return found


def vocoders() -> Arrays:
    mel = normal(1, 80, 9, seed=3)
    found: Arrays = {}
    for name, make in (("hift", tiny_hift), ("bigvgan", tiny_bigvgan)):
        with torch.no_grad():
            found[name] = make().synthesize(mel, [FixedSource()])[0].numpy()
    return found


def whole_decoder() -> Arrays:
    found: Arrays = {}
    for name, make in (("hift", tiny_hift), ("bigvgan", tiny_bigvgan)):
        fixed = {"flow_noise": fixed_noise(400), "source_noise": FixedSource()}
        whole = Decoder(tiny_flow(), make(), n_steps=3)
        found[name] = whole.decode(tokens(4), reference(), **fixed)
        fixed["source_noise"] = FixedSource()
        stream = StreamDecoder(Decoder(tiny_flow(), make(), n_steps=2), reference(), **fixed)
        ids = tokens(20)
        heard = [
            stream.push(ids[at : at + 25], last=at + 25 == len(ids))
            for at in range(0, len(ids), 25)
        ]
        joined = np.concatenate([part for part in heard if part is not None])
        found[f"{name}_streamed"] = joined[::16]
    return found


@torch.no_grad()
def phone_reader() -> Arrays:
    network = PhoneNetwork(12, 2)
    randomise(network, 0)
    random = np.random.RandomState(0)
    linguistic, semantic = random.randint(0, 1024, (1, 12)), random.randint(0, 4096, (1, 18))
    heard = network.eval()(
        torch.from_numpy(linguistic), torch.from_numpy(semantic), torch.tensor([6])
    )
    return {"log_probabilities": heard.numpy()}


STAGES: dict[str, Callable[[], Arrays]] = {
    "mel_features": mel_features,
    "linguistic_tokenizer": linguistic,
    "semantic_tokenizer": semantic,
    "speaker_encoder": speaker,
    "prompt_ids": prompt_ids,
    "language_model": language_model,
    "flow_decoder": flow_decoder,
    "reference_decoder": reference_decoder,
    "vocoder": vocoders,
    "whole_decoder": whole_decoder,
    "phone_reader": phone_reader,
}


def main() -> None:
    """Write what every stage gives now."""
    FOLDER.mkdir(exist_ok=True)
    for name, stage in STAGES.items():
        arrays = {key: np.ascontiguousarray(value) for key, value in stage().items()}
        save_file(arrays, FOLDER / f"{name}.safetensors")
        print(name, {key: value.shape for key, value in arrays.items()})


if __name__ == "__main__":
    main()
