"""Outputs that no scorer may take for the edit it asked for: plain functions of an utterance.

``stepedit bench attack`` puts each to each scorer, with a recogniser; ``stepedit check`` puts
those without words to a plugin's scorer. A function is repeatable: noise has a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = ["ADDED", "CHEATS", "WORDLESS", "Cheat", "insert_at"]

Cheat = Callable[[Utterance], Utterance]
FloatArray = npt.NDArray[np.float64]


def _made(source: Utterance, samples: npt.NDArray[np.floating]) -> Utterance:
    return source.replace(samples=np.ascontiguousarray(samples, dtype=np.float32))


def _level(source: Utterance) -> float:
    """Return the RMS of a recording, and 0.05 for a silent one."""
    return float(np.sqrt(np.mean(np.square(source.samples, dtype=np.float64)))) or 0.05


def _times(source: Utterance, seconds: float | None = None) -> FloatArray:
    count = len(source.samples) if seconds is None else round(seconds * source.sample_rate)
    return np.arange(count) / source.sample_rate


def _random(source: Utterance, count: int | None = None) -> FloatArray:
    return np.random.default_rng(7).standard_normal(len(source.samples) if count is None else count)


# Without words: sounds in place of the whole recording -------------------------------------


def zeros(source: Utterance) -> Utterance:
    """Return silence."""
    return _made(source, np.zeros_like(source.samples))


def faint_noise(source: Utterance) -> Utterance:
    """Return noise that is hardly there."""
    return _made(source, 1e-4 * _random(source))


def constant(source: Utterance) -> Utterance:
    """Return direct current."""
    return _made(source, np.full(len(source.samples), _level(source)))


def white_noise(source: Utterance) -> Utterance:
    """Return white noise as loud as the recording."""
    return _made(source, np.clip(_level(source) * _random(source), -1, 1))


def brown_noise(source: Utterance) -> Utterance:
    """Return noise with its power at low frequencies."""
    walk = np.cumsum(_random(source))
    walk -= np.linspace(walk[0], walk[-1], len(walk))
    return _made(source, np.clip(_level(source) * walk / max(float(walk.std()), 1e-9), -1, 1))


def beep(source: Utterance) -> Utterance:
    """Return a tone of 1 kHz."""
    return _made(source, 1.4 * _level(source) * np.sin(2 * np.pi * 1000 * _times(source)))


def buzz(source: Utterance) -> Utterance:
    """Return a saw-tooth of 120 Hz."""
    return _made(source, _level(source) * (2 * (120 * _times(source) % 1.0) - 1))


def beeps(source: Utterance) -> Utterance:
    """Return a tone of 800 Hz that goes on and off four times a second."""
    times = _times(source)
    return _made(source, _level(source) * np.sin(2 * np.pi * 800 * times) * (times * 4 % 1 < 0.5))


def clicks(source: Utterance) -> Utterance:
    """Return ten clicks a second."""
    samples = np.zeros(len(source.samples))
    samples[:: max(1, source.sample_rate // 10)] = 0.8
    return _made(source, samples)


def noise_in_its_rhythm(source: Utterance) -> Utterance:
    """Return noise that follows the level of the speech: a whisper without words."""
    size = max(1, source.sample_rate // 50)
    power = np.convolve(np.square(source.samples, dtype=np.float64), np.ones(size) / size, "same")
    return _made(source, np.clip(np.sqrt(power) * _random(source), -1, 1))


def tone_in_its_rhythm(source: Utterance) -> Utterance:
    """Return a tone of 200 Hz that follows the level of the speech."""
    size = max(1, source.sample_rate // 50)
    power = np.convolve(np.square(source.samples, dtype=np.float64), np.ones(size) / size, "same")
    return _made(source, np.sqrt(2 * power) * np.sin(2 * np.pi * 200 * _times(source)))


# Nothing done, or next to nothing ----------------------------------------------------------


def copy(source: Utterance) -> Utterance:
    """Return the recording as it is."""
    return source.replace()


def one_sample(source: Utterance) -> Utterance:
    """Return the recording with one sample changed."""
    samples = source.samples.copy()
    samples[len(samples) // 2] += 1e-3
    return _made(source, samples)


def quieter(source: Utterance) -> Utterance:
    """Return the recording at 0.8 of its amplitude."""
    return _made(source, 0.8 * source.samples)


def louder(source: Utterance) -> Utterance:
    """Return the recording 6 dB louder."""
    return _made(source, np.clip(2.0 * source.samples, -1, 1))


def turned_over(source: Utterance) -> Utterance:
    """Return the recording with its polarity inverted."""
    return _made(source, -source.samples)


def delayed(source: Utterance) -> Utterance:
    """Return the recording 10 ms later."""
    return _made(source, np.roll(source.samples, source.sample_rate // 100))


def dithered(source: Utterance) -> Utterance:
    """Return the recording with noise 60 dB below it."""
    return _made(source, source.samples + 1e-3 * _level(source) * _random(source))


# Damage ------------------------------------------------------------------------------------


def reversed_(source: Utterance) -> Utterance:
    """Return the recording backwards."""
    return _made(source, source.samples[::-1])


def _pieces(source: Utterance, seconds: float) -> list[npt.NDArray[np.float32]]:
    size = max(1, round(seconds * source.sample_rate))
    return [source.samples[at : at + size] for at in range(0, len(source.samples), size)]


def pieces_reversed(source: Utterance) -> Utterance:
    """Return each 0.25 s backwards, in order."""
    return _made(source, np.concatenate([piece[::-1] for piece in _pieces(source, 0.25)]))


def pieces_shuffled(source: Utterance) -> Utterance:
    """Return pieces of 0.3 s in another order."""
    pieces = _pieces(source, 0.3)
    order = np.random.default_rng(3).permutation(len(pieces))
    return _made(source, np.concatenate([pieces[place] for place in order]))


def halves_swapped(source: Utterance) -> Utterance:
    """Return the second half before the first."""
    return _made(source, np.roll(source.samples, len(source.samples) // 2))


def cut_ending(source: Utterance) -> Utterance:
    """Return the recording without its last quarter."""
    return source.replace(samples=source.samples[: 3 * len(source.samples) // 4])


def cut_beginning(source: Utterance) -> Utterance:
    """Return the recording without its first quarter."""
    return source.replace(samples=source.samples[len(source.samples) // 4 :])


def half(source: Utterance) -> Utterance:
    """Return the first half."""
    return source.replace(samples=source.samples[: len(source.samples) // 2])


def muted_middle(source: Utterance) -> Utterance:
    """Return the recording with silence for its middle third."""
    samples, third = source.samples.copy(), len(source.samples) // 3
    samples[third : 2 * third] = 0.0
    return _made(source, samples)


def _dropped(source: Utterance, grain: float, share: float) -> Utterance:
    """Leave out pieces of ``grain`` seconds so that ``share`` of the length is gone."""
    size = max(1, round(grain * source.sample_rate))
    period = round(size / share)
    samples = source.samples
    kept = [samples[at : at + period - size] for at in range(0, len(samples), period)]
    return _made(source, np.concatenate(kept))


def dropped_short_grains(source: Utterance) -> Utterance:
    """Leave out 30 ms of every 120 ms."""
    return _dropped(source, 0.03, 0.25)


def dropped_grains(source: Utterance) -> Utterance:
    """Leave out 100 ms of every 0.35 s."""
    return _dropped(source, 0.1, 0.285)


def dropped_long_grains(source: Utterance) -> Utterance:
    """Leave out 0.25 s of every 0.7 s."""
    return _dropped(source, 0.25, 0.357)


def repeated_grains(source: Utterance) -> Utterance:
    """Repeat every third piece of 100 ms."""
    pieces = _pieces(source, 0.1)
    twice = [np.tile(piece, 2) if n % 3 == 0 else piece for n, piece in enumerate(pieces)]
    return _made(source, np.concatenate(twice))


def stutter(source: Utterance) -> Utterance:
    """Repeat every piece of 60 ms."""
    return _made(source, np.concatenate([np.tile(piece, 2) for piece in _pieces(source, 0.06)]))


def pauses_put_in(source: Utterance) -> Utterance:
    """Return the recording with 0.3 s of silence after each second."""
    gap = np.zeros(round(0.3 * source.sample_rate), np.float32)
    return _made(source, np.concatenate([np.append(piece, gap) for piece in _pieces(source, 1.0)]))


def repeated_word(source: Utterance) -> Utterance:
    """Repeat half a second from the middle."""
    start = len(source.samples) // 2
    piece = source.samples[start : start + source.sample_rate // 2]
    parts = [source.samples[:start], piece, piece, source.samples[start:]]
    return _made(source, np.concatenate(parts))


def said_twice(source: Utterance) -> Utterance:
    """Repeat the whole recording."""
    return _made(source, np.tile(source.samples, 2))


def another_recording(source: Utterance) -> Utterance:
    """Return other words by another speaker, cut or filled to the same length."""
    from stepedit_core.recordings import packaged, packaged_speech

    names = [name for name in packaged() if packaged_speech(name).transcript != source.transcript]
    other = packaged_speech(names[len(names) // 2]).resample(source.sample_rate).samples
    return _made(source, np.resize(other, len(source.samples)))


def _band(source: Utterance, low: float, high: float) -> FloatArray:
    spectrum = np.fft.rfft(source.samples.astype(np.float64))
    hertz = np.fft.rfftfreq(len(source.samples), 1 / source.sample_rate)
    spectrum[(hertz < low) | (hertz > high)] = 0.0
    return np.asarray(np.fft.irfft(spectrum, len(source.samples)))


def low_pass(source: Utterance) -> Utterance:
    """Take away all above 2 kHz."""
    return _made(source, _band(source, 0, 2000))


def very_low_pass(source: Utterance) -> Utterance:
    """Take away all above 700 Hz."""
    return _made(source, _band(source, 0, 700))


def high_pass(source: Utterance) -> Utterance:
    """Take away all below 1 kHz."""
    return _made(source, _band(source, 1000, 1e9))


def telephone(source: Utterance) -> Utterance:
    """Leave 300 Hz to 3.4 kHz."""
    return _made(source, _band(source, 300, 3400))


def clipped(source: Utterance) -> Utterance:
    """Amplify by 30 dB and clip."""
    return _made(source, np.clip(31.6 * source.samples, -0.9, 0.9))


def coarse(source: Utterance) -> Utterance:
    """Round to 4 bits."""
    top = float(np.abs(source.samples).max()) or 1.0
    return _made(source, np.round(source.samples / top * 8) / 8 * top)


def hum(source: Utterance) -> Utterance:
    """Add mains hum as loud as the speech."""
    times = _times(source)
    wave = sum(np.sin(2 * np.pi * 50 * n * times) / n for n in (1, 2, 3, 5))
    return _made(source, np.clip(source.samples + _level(source) * np.asarray(wave), -1, 1))


def offset(source: Utterance) -> Utterance:
    """Add direct current."""
    return _made(source, np.clip(source.samples + 0.2, -1, 1))


def noisier(source: Utterance) -> Utterance:
    """Add white noise as loud as the speech."""
    return _made(source, np.clip(source.samples + _level(source) * _random(source), -1, 1))


def echo(source: Utterance) -> Utterance:
    """Add two echoes, 0.2 s and 0.4 s later."""
    samples = source.samples.astype(np.float64)
    for seconds, gain in ((0.2, 0.7), (0.4, 0.5)):
        late = round(seconds * source.sample_rate)
        samples[late:] += gain * source.samples[: max(0, len(samples) - late)]
    return _made(source, np.clip(samples, -1, 1))


# Sounds put in at a place ------------------------------------------------------------------


def insert_at(source: Utterance, sound: FloatArray, seconds: float) -> Utterance:
    """Return the recording with a sound put in at a place, in seconds."""
    cut = min(len(source.samples), max(0, round(seconds * source.sample_rate)))
    added = np.clip(sound, -1, 1).astype(np.float32)
    parts = [source.samples[:cut], added, source.samples[cut:]]
    return _made(source, np.concatenate(parts))


def _added_silence(source: Utterance) -> FloatArray:
    return 0.0 * _times(source, 0.8)


def _added_beep(source: Utterance) -> FloatArray:
    return np.asarray(_level(source) * np.sin(2 * np.pi * 1000 * _times(source, 0.5)))


def _added_beeps(source: Utterance) -> FloatArray:
    times = _times(source, 1.0)
    return np.asarray(_level(source) * np.sin(2 * np.pi * 600 * times) * (times * 5 % 1 < 0.5))


def _added_buzz(source: Utterance) -> FloatArray:
    return np.asarray(_level(source) * (2 * (150 * _times(source, 0.7) % 1.0) - 1))


def _added_noise(source: Utterance) -> FloatArray:
    return _level(source) * _random(source, len(_times(source, 0.7)))


def _added_clicks(source: Utterance) -> FloatArray:
    samples = np.zeros(len(_times(source, 0.6)))
    samples[:: max(1, source.sample_rate // 12)] = 0.5
    return samples


def _added_sweep(source: Utterance) -> FloatArray:
    times = _times(source, 0.7)
    return np.asarray(_level(source) * np.sin(2 * np.pi * (300 + 900 * times) * times))


def _added_backwards(source: Utterance) -> FloatArray:
    size = min(len(source.samples), round(0.6 * source.sample_rate))
    start = (len(source.samples) - size) // 2
    return source.samples[start : start + size][::-1].astype(np.float64)


def _added_speech(source: Utterance) -> FloatArray:
    """Return a snippet of the recording's own words."""
    return np.asarray(_added_backwards(source)[::-1])


_ALONE = (zeros, faint_noise, constant, white_noise, brown_noise, beep, buzz, beeps, clicks)
_IDLE = (copy, one_sample, quieter, louder, turned_over, delayed, dithered)
_ORDER = (reversed_, pieces_reversed, pieces_shuffled, halves_swapped, another_recording)
_LOSS = (cut_ending, cut_beginning, half, muted_middle, dropped_short_grains, dropped_grains,
         dropped_long_grains)  # fmt: skip
_MORE = (repeated_grains, stutter, pauses_put_in, repeated_word, said_twice)
_SOUND = (
    low_pass,
    very_low_pass,
    high_pass,
    telephone,
    clipped,
    coarse,
    hum,
    offset,
    noisier,
    echo,
)

WORDLESS: Mapping[str, Cheat] = {
    cheat.__name__: cheat for cheat in (*_ALONE, noise_in_its_rhythm, tone_in_its_rhythm)
}
"""Cheats without a word in them, by name."""
CHEATS: Mapping[str, Cheat] = {
    **WORDLESS,
    **{cheat.__name__.rstrip("_"): cheat for cheat in (*_IDLE, *_ORDER, *_LOSS, *_MORE, *_SOUND)},
}
"""All cheats that need no place, by name."""
ADDED: Mapping[str, Callable[[Utterance], FloatArray]] = {
    f"added_{name}": sound
    for name, sound in (
        ("silence", _added_silence),
        ("beep", _added_beep),
        ("beeps", _added_beeps),
        ("buzz", _added_buzz),
        ("noise", _added_noise),
        ("clicks", _added_clicks),
        ("sweep", _added_sweep),
        ("speech_backwards", _added_backwards),
        ("speech", _added_speech),
    )
}
"""Sounds to put in where an edit puts sounds in, by name."""
