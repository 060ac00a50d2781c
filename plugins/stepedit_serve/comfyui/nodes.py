"""The nodes: one for each edit, and one that does what a sentence says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from .client import Service
from .parameters import edit_of, inputs_of
from .sound import FloatArray

__all__ = ["edit_node", "sentence_node"]

CATEGORY = "audio/stepedit"
_MOST = 2**53 - 1
"""Largest seed: JavaScript's widgets count no further."""


def edit_node(io: Any, service: Service, edit: Mapping[str, Any]) -> type:
    """Return the node of an edit.

    Args:
        io: ``comfy_api.latest.io``.
        service: runs it.
        edit: its ``EditInfo``, as ``GET /v1/edits`` has it.
    """
    name, schema = str(edit["name"]), edit["parameters"]

    def define_schema(cls: type) -> Any:
        inputs = [io.Audio.Input("audio"), *inputs_of(io, schema), *_common(io)]
        if edit["consent"]:
            about = "Who agreed that this voice is used, in words; at least 8 characters."
            inputs.append(io.String.Input("consent_attestation", default="", tooltip=about))
        return io.Schema(
            node_id=f"Stepedit_{name}",
            display_name=f"{edit['title']} (stepedit)",
            category=CATEGORY,
            description=str(edit["summary"]),
            inputs=inputs,
            outputs=_outputs(io),
        )

    def execute(cls: type, audio: Mapping[str, Any], **given: Any) -> Any:
        data = edit_of(name, schema, given)
        return _carried_out(io, service, audio, {"chain": json.dumps(data)}, given)

    return _class(io, f"Stepedit_{name}", f"The edit {name}.", define_schema, execute)


def sentence_node(io: Any, service: Service) -> type:
    """Return the node that does what a sentence says, such as "a bit slower"."""

    def define_schema(cls: type) -> Any:
        return io.Schema(
            node_id="Stepedit_say",
            display_name="Say what to change (stepedit)",
            category=CATEGORY,
            description="Edits speech as a sentence says: 'more cheerful', 'a bit slower'.",
            inputs=[
                io.Audio.Input("audio"),
                io.String.Input("sentence", default="a bit slower"),
                *_common(io),
            ],
            outputs=_outputs(io),
        )

    def execute(cls: type, audio: Mapping[str, Any], sentence: str, **given: Any) -> Any:
        return _carried_out(io, service, audio, {"say": sentence}, given)

    return _class(io, "Stepedit_say", "What a sentence says.", define_schema, execute)


def _class(io: Any, name: str, about: str, define_schema: Any, execute: Any) -> type:
    """Return a node class; ComfyUI calls its class methods alone."""
    members = {
        "__doc__": about,
        "define_schema": classmethod(define_schema),
        "execute": classmethod(execute),
    }
    return type(name, (io.ComfyNode,), members)


def _common(io: Any) -> list[Any]:
    """Return the inputs that all nodes have."""
    return [
        io.String.Input(
            "transcript", default="", multiline=True, tooltip="The words spoken, where known."
        ),
        io.String.Input("language", default="", tooltip="BCP 47 tag, such as en or zh."),
        io.Int.Input("seed", default=0, min=0, max=_MOST, step=1),
        io.Combo.Input("route", options=["auto", "llm", "dsp"], default="auto"),
        io.Combo.Input(
            "accept",
            options=["off", "normal", "strict"],
            default="off",
            tooltip="Whether a result that misses its aim or changes too much is refused.",
        ),
    ]


def _outputs(io: Any) -> list[Any]:
    return [
        io.Audio.Output("edited_audio"),
        io.String.Output("edited_words"),
        io.String.Output("edit_report"),
    ]


def _carried_out(
    io: Any,
    service: Service,
    audio: Mapping[str, Any],
    asked: Mapping[str, str],
    given: Mapping[str, Any],
) -> Any:
    """Edit each recording of a batch; shorter results are filled with silence at their end."""
    import torch

    names = ("transcript", "language", "seed", "route", "accept", "consent_attestation")
    fields = {**asked, **{name: str(given.get(name, "")) for name in names}}
    waves = audio["waveform"].detach().cpu().numpy().astype(np.float32)
    made: list[FloatArray] = []
    answers: list[dict[str, Any]] = []
    rate = int(audio["sample_rate"])
    for wave in waves:
        samples, rate, answer = service.edit(wave.T, int(audio["sample_rate"]), fields)
        made.append(samples.T)
        answers.append(answer)
    longest = max(one.shape[1] for one in made)
    even = np.stack([np.pad(one, ((0, 0), (0, longest - one.shape[1]))) for one in made])
    words = "\n".join(str(answer.get("transcript") or "") for answer in answers)
    report = json.dumps([answer["report"] for answer in answers], ensure_ascii=False)
    result = {"waveform": torch.from_numpy(even), "sample_rate": rate}
    return io.NodeOutput(result, words, report)
