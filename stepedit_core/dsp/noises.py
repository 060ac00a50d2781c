"""Noise to mix with speech: synthesised, from a folder, or the voices of others (babble)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = [
    "COLOURS",
    "MORE_SYNTHETIC",
    "SPEECH_BAND",
    "SYNTHETIC",
    "babble",
    "mix",
    "noise_files",
    "snr_db",
    "synthesise",
    "tile",
]

FloatArray = npt.NDArray[np.float64]

COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
"""Exponent of 1/f in the power spectrum."""
SYNTHETIC = (*COLOURS, "hum", "clicks")
"""What the pair builder draws from by default."""
MORE_SYNTHETIC = (*SYNTHETIC, "street", "rain", "music")
_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def synthesise(kind: str, length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return noise of any scale.

    Args:
        kind: ``white``, ``pink`` (1/f), ``brown`` (1/f squared, flat below 20 Hz), ``hum`` (50 or
            60 Hz with harmonics that fall off), ``clicks`` (five short bursts a second),
            ``street`` (vehicles that pass: rumble and tyres that swell and fade), ``rain`` (a
            steady hiss, and single drops) or ``music`` (chords, a bass and a melody of plucked
            tones, about two beats a second).
        length: number of samples.
        rate: in Hz.
        rng: draws it.
    """
    if kind == "hum":
        return _hum(length, rate, rng)
    if kind == "clicks":
        return _clicks(length, rate, rng)
    if kind == "street":
        return _street(length, rate, rng)
    if kind == "rain":
        return _rain(length, rate, rng)
    if kind == "music":
        return _music(length, rate, rng)
    return _coloured(COLOURS[kind], length, rate, rng)


def _coloured(exponent: float, length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return noise of a power spectrum 1/f to an exponent, flat below 20 Hz, any scale."""
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    shape = np.maximum(frequencies, 20.0) ** (-exponent / 2)
    shape[0] = 0.0
    phases = rng.standard_normal((2, len(shape)))
    return np.asarray(np.fft.irfft(shape * (phases[0] + 1j * phases[1]), length))


def _hum(length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return mains hum: odd harmonics stronger than even ones, and a little hiss."""
    base = float(rng.choice([50.0, 60.0])) * (1 + 0.002 * rng.standard_normal())
    time = np.arange(length) / rate
    hum = 0.01 * rng.standard_normal(length)
    for order in range(1, 21):
        if order * base < 0.45 * rate:
            strength = (1.0 if order % 2 else 0.3) * order**-1.2 * rng.uniform(0.5, 1.0)
            hum += strength * np.sin(2 * np.pi * (order * base * time + rng.random()))
    return hum


def _clicks(length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return decaying bursts at random times, at least one."""
    out = np.zeros(length)
    for _ in range(max(1, rng.poisson(5 * length / rate))):
        at = int(rng.integers(length))
        size = min(length - at, round(rate * rng.uniform(0.001, 0.008)))
        decay = np.exp(-5 * np.arange(size) / max(1, size))
        out[at : at + size] += rng.uniform(0.3, 1.0) * decay * rng.standard_normal(size)
    return out


def _street(length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return traffic: distant rumble, and a vehicle about every two seconds.

    Each swells and fades within 1 to 4 s: engine rumble (1/f squared) with a tone, and tyres
    (noise about 1 kHz).
    """
    from scipy.signal import butter, sosfilt

    def even(sound: FloatArray) -> FloatArray:
        return sound / max(float(np.std(sound)), 1e-12)

    tyres_band = butter(2, (500, min(2000, 0.45 * rate)), "bandpass", fs=rate, output="sos")
    rumble = even(_coloured(2.0, length, rate, rng))
    tyres = even(np.asarray(sosfilt(tyres_band, rng.standard_normal(length))))
    time = np.arange(length) / rate
    street = 0.3 * rumble + 0.1 * tyres
    for _ in range(1 + rng.poisson(length / rate / 2)):
        near = np.exp(-0.5 * ((time - rng.uniform(0, length / rate)) / rng.uniform(0.25, 1)) ** 2)
        engine = np.sin(2 * np.pi * (rng.uniform(60, 140) * time + rng.random()))
        loudness = rng.uniform(0.4, 1.0)
        street += loudness * near * (0.7 * rumble + 0.6 * tyres + 0.3 * engine)
    return street


def _rain(length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return rain: noise that rises from 300 Hz to 2 kHz, and about forty drops a second.

    A drop is a decaying tone of 1 to 6 kHz (a bubble that rings), 1 to 6 ms long.
    """
    from scipy.signal import butter, sosfilt

    band = butter(1, (300, min(6000, 0.45 * rate)), "bandpass", fs=rate, output="sos")
    hiss = np.asarray(sosfilt(band, rng.standard_normal(length)))
    rain = hiss / max(float(np.std(hiss)), 1e-12)
    for _ in range(rng.poisson(40 * length / rate)):
        at = int(rng.integers(length))
        size = min(length - at, round(rate * rng.uniform(0.004, 0.02)))
        time = np.arange(size) / rate
        tone = np.sin(2 * np.pi * rng.uniform(1000, min(6000, 0.4 * rate)) * time)
        rain[at : at + size] += (
            rng.exponential(1.5) * np.exp(-time / rng.uniform(1e-3, 6e-3)) * tone
        )
    return rain


def _music(length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return four chords that go round, a bass and a pentatonic melody, of plucked tones.

    A tone has the harmonics of a string, of which the higher ones fade sooner.
    """
    beat = 60 / rng.uniform(96, 132)
    tonic = 45 + int(rng.integers(12))  # MIDI: A2 and up
    out = np.zeros(length)

    def pluck(note: float, second: float, loudness: float) -> None:
        at = round(second * rate)
        time = np.arange(min(length - at, round(1.5 * rate))) / rate
        base = 440 * 2 ** ((note - 69) / 12)
        for order in range(1, 9):
            if order * base < 0.45 * rate:
                fade = np.exp(-time * (1.5 + 0.9 * order))
                tone = np.sin(2 * np.pi * (order * base * time + rng.random()))
                out[at : at + len(time)] += loudness / order * fade * tone

    for count in range(int(length / rate / beat) + 1):
        second = count * beat
        if round(second * rate) >= length:
            break
        root = tonic + (0, 9, 5, 7)[count // 4 % 4]
        if count % 2 == 0:
            pluck(root - 12, second, 0.8)
            for third in (0, 3 if root == tonic + 9 else 4, 7):
                pluck(root + third, second, 0.5)
        for half in (0.0, 0.5):
            if rng.random() < 0.7 and round((second + half * beat) * rate) < length:
                step = int(rng.choice([0, 2, 4, 7, 9, 12]))
                pluck(tonic + 12 + step, second + half * beat, rng.uniform(0.4, 0.9))
    return out


def babble(
    voices: Sequence[Utterance], length: int, rate: int, rng: np.random.Generator
) -> FloatArray:
    """Return the sum of other people's speech, all at one level, each from a random place."""
    mixed = np.zeros(length)
    for voice in voices:
        samples = tile(voice.resample(rate).samples.astype(np.float64), length, rng)
        power = float(np.std(samples))
        mixed += samples / power if power > 0 else 0.0
    return mixed


def tile(samples: FloatArray, length: int, rng: np.random.Generator) -> FloatArray:
    """Return so many samples from a random place on, going round where they end."""
    start = int(rng.integers(len(samples)))
    return np.take(samples, np.arange(start, start + length), mode="wrap")


def noise_files(folder: str) -> list[Path]:
    """Return the audio files below a folder, in a stable order.

    Raises:
        StepeditError: if there are none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _AUDIO)
    if not found:
        raise StepeditError(f"{folder}: no audio files ({', '.join(_AUDIO)}) below this folder")
    return found


SPEECH_BAND = (50.0, 4000.0)
"""Hz. Every recording from 8 kHz on has this band whole: noise above it would take part of the
ratio, so that a higher sample rate would make the same ratio an easier case."""


def snr_db(
    speech: npt.NDArray[np.floating],
    noise: npt.NDArray[np.floating],
    band: tuple[float, float] | None = None,
    rate: int = 0,
) -> float:
    """Return the power of speech over that of noise, whole length, offsets left out, in dB.

    Args:
        speech: samples.
        noise: as many samples.
        band: from and to which frequency power counts, in Hz; all of it by default.
        rate: sample rate, needed with ``band``.
    """
    if band is None:
        powers = [float(np.var(part, dtype=np.float64)) for part in (speech, noise)]
    else:
        hertz = np.fft.rfftfreq(len(speech), 1 / rate)
        inside = (hertz >= band[0]) & (hertz <= band[1])
        spectra = (np.abs(np.fft.rfft(part)) for part in (speech, noise))
        powers = [float(np.sum(spectrum[inside] ** 2)) + 1e-30 for spectrum in spectra]
    return 10 * float(np.log10(powers[0] / powers[1]))


def mix(
    clean: Utterance,
    noise: FloatArray,
    level_db: float,
    band: tuple[float, float] | None = None,
) -> tuple[Utterance, Utterance, float]:
    """Add noise at a signal-to-noise ratio.

    Args:
        clean: the speech.
        noise: as many samples.
        level_db: the ratio asked for.
        band: in which the ratio is taken, in Hz; over all frequencies by default.

    Returns:
        The mixture, the clean utterance, both scaled down alike where the mixture would
        clip, and the ratio measured on what is returned, in dB.

    Raises:
        StepeditError: if speech or noise is silent.
    """
    speech = clean.samples.astype(np.float64)
    if not speech.any() or not np.any(noise):
        raise StepeditError("speech and noise must not be silent to have a ratio")
    rate = clean.sample_rate
    scaled = noise * 10 ** ((snr_db(speech, noise, band, rate) - level_db) / 20)
    gain = min(1.0, 0.99 / float(np.abs(speech + scaled).max()))
    noisy = clean.replace(samples=(gain * (speech + scaled)).astype(np.float32))
    target = clean.replace(samples=(gain * speech).astype(np.float32))
    return noisy, target, snr_db(target.samples, noisy.samples - target.samples, band, rate)
