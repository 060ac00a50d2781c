"""Change of pitch: WORLD where formants stay or the range changes, a pitch shifter where they move.

WORLD (`stepedit_core.dsp.prosody`) splits pitch from formants and so keeps these within 1 %, where
Rubber Band's ``--formant`` errs by up to 2.5 %. A shifter that moves formants along needs no such
split, and keeps more of the sound: Rubber Band (engine R3), or Signalsmith Stretch where that
program is not installed. SoX's ``pitch`` errs by up to 48 cents and is not used.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stepedit_core import AudioError, StepeditError, Utterance
from stepedit_core.dsp.loudness import level_like
from stepedit_core.dsp.offset import around_offset
from stepedit_core.dsp.prosody import ProsodyRecipe, transform_with_facts
from stepedit_pitch.measuring import STEP, pitch_track

if TYPE_CHECKING:
    from stepedit_pitch.edit import Pitch

__all__ = ["BACKENDS", "backend_for", "shifted"]

FloatArray = npt.NDArray[np.float32]

BACKENDS = ("world", "rubberband", "signalsmith")
"""All backends; `backend_for` says which carries out a request."""
_HEADROOM = 0.5
_LEAST_UNVOICED, _GUARD, _FADE = 0.04, 0.015, 0.01


def backend_for(edit: Pitch) -> str:
    """Return the backend of a request, by what it asks and what is installed."""
    if edit.formants == "kept" or edit.range != 1:
        return "world"
    return "rubberband" if shutil.which("rubberband") else "signalsmith"


def shifted(
    utterance: Utterance, edit: Pitch, rng: np.random.Generator, *, backend: str | None = None
) -> tuple[Utterance, dict[str, Any]]:
    """Change the pitch as an edit asks; length, rate, level and a constant offset stay.

    Where the formants stay, unvoiced sounds and pauses of 40 ms and more are the source's own
    samples: they have no pitch.

    Args:
        utterance: any rate and length.
        edit: the request.
        rng: seeds the backends that draw phases.
        backend: a name of ``BACKENDS``; by default that of `backend_for`.

    Returns:
        The recording at its new pitch, and what was done.

    Raises:
        AudioError: if the recording holds no voiced sound.
        StepeditError: if the backend cannot carry out the request, or fails.
    """
    chosen = backend or backend_for(edit)
    if chosen not in BACKENDS:
        raise StepeditError(f"pitch: no backend {chosen!r}; there are {', '.join(BACKENDS)}")
    if chosen != "world" and backend_for(edit) == "world":
        raise StepeditError(f"pitch: {chosen} moves the formants and keeps the range; use world")
    track = pitch_track(utterance)
    if not track.any():
        raise AudioError("pitch: no voiced sound was found, so there is no pitch to change")
    edited, details = around_offset(
        utterance, lambda flat: _changed(flat, edit, chosen, track, rng)
    )
    return edited.replace(alignment=utterance.alignment), details


def _changed(
    flat: Utterance,
    edit: Pitch,
    chosen: str,
    track: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Utterance, dict[str, Any]]:
    """Change the pitch of a recording without an offset."""
    details: dict[str, Any] = {"backend": chosen, "semitones": edit.semitones, "range": edit.range}
    if chosen == "world":
        moved = edit.formants == "moved"
        recipe = ProsodyRecipe(
            f0_ratio=edit.ratio,
            f0_range=edit.range,
            # Of loud and periodic frames: WORLD also counts doubtful ones.
            f0_middle=float(np.median(track[track > 0])),
            formant_ratio=edit.ratio if moved else 1.0,
        )
        made, facts = transform_with_facts(flat, recipe, rng)
        details["limited_db"] = facts["limited_db"]
        if not moved:
            made, details["kept_seconds"] = _with_unvoiced(flat, made, track > 0)
        return made, details
    seed = int(rng.integers(2**31))
    samples = _shifted_by(chosen, flat, edit.semitones, seed)
    level, gain = level_like(samples, flat.samples)
    return flat.replace(samples=level), {**details, "gain_db": round(gain, 2)}


def _shifted_by(chosen: str, flat: Utterance, semitones: float, seed: int) -> FloatArray:
    """Shift pitch and formants by a program or a library, at a level that does not clip."""
    peak = float(np.abs(flat.samples).max())
    scaled = flat.samples * np.float32(_HEADROOM / peak)
    try:
        if chosen == "rubberband":
            import pyrubberband

            raw = pyrubberband.pitch_shift(
                scaled, flat.sample_rate, semitones, rbargs={"--fine": ""}
            )
        else:
            from python_stretch.Signalsmith import Stretch

            stretcher = Stretch(seed)
            stretcher.preset(1, flat.sample_rate)
            stretcher.setTransposeSemitones(semitones, 0)
            raw = stretcher.process(scaled[None])
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise StepeditError(f"pitch: {chosen} failed ({error}); use formants=kept") from error
    made = np.asarray(raw, dtype=np.float32).reshape(-1)[: len(scaled)]
    fitted = np.pad(made, (0, len(scaled) - len(made)))
    return fitted * np.float32(peak / _HEADROOM)


def _with_unvoiced(
    flat: Utterance, made: Utterance, voiced: npt.NDArray[np.bool_]
) -> tuple[Utterance, float]:
    """Put the source's unvoiced sounds and pauses back, cross-faded where voices begin and end."""
    rate, count = flat.sample_rate, len(flat.samples)
    guard = round(_GUARD / STEP)
    near = np.convolve(voiced, np.ones(2 * guard + 1), mode="same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~near, [False]]).astype(int)))
    weight = np.zeros(count, dtype=np.float32)
    fade = max(1, round(_FADE * rate))
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)).astype(np.float32)
    kept = 0
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        start, end = round(first * STEP * rate), round(stop * STEP * rate)
        end = count if stop == len(voiced) else min(end, count)
        if end - start < max(round(_LEAST_UNVOICED * rate), 2 * fade):
            continue
        weight[start:end] = 1.0
        if start > 0:
            weight[start : start + fade] = ramp
        if end < count:
            weight[end - fade : end] = ramp[::-1]
        kept += end - start
    # In this form samples of weight 1 are the source's to the bit.
    mixed = np.where(
        weight == 1, flat.samples, made.samples + (flat.samples - made.samples) * weight
    )
    return made.replace(samples=mixed), round(kept / rate, 3)
