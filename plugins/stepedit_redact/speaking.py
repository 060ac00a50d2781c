"""Spoken secrets: sentences with made-up numbers, addresses and names, said by free voices.

Voices are those of hibari-tts (Apache-2.0) and flite (Black and Lenzo 2001, SSW4). Numbers are
drawn, card numbers pass their check, and nobody's data is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stepedit_core import Utterance
from stepedit_core.dsp import synthesis
from stepedit_core.dsp.synthesis import System
from stepedit_redact.spoken import luhn

__all__ = ["VOICES", "Secret", "draw_secrets", "speak"]

VOICES: tuple[tuple[System, str], ...] = (
    ("hibari", "heart"),
    ("flite", "slt"),
    ("flite", "rms"),
    ("flite", "awb"),
)
RATES = (8_000, 16_000, 24_000, 48_000)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_GIVEN = ("Jane", "Michael", "Priya", "Carlos", "Emily", "Robert", "Angela", "Kevin", "Laura")
_SURNAMES = (
    *("Miller", "Sandoval", "Thompson", "Okafor", "Petersen", "Novak", "Whitfield", "Baxter"),
    *("Kowalski", "Hartley"),
)
_DOMAINS = ("example", "gmail", "northwind", "bluewave", "hotmail", "sunrise hotel")
_FRAMES = {
    "phone": (
        "You can call me at {} any time after lunch.",
        "My phone number is {} and I am home in the evening.",
        "Please write this down, {}, and ring before you come.",
    ),
    "card": (
        "The card number is {} and it expires in May.",
        "I would like to pay with {} if that is all right.",
        "Take the money from my credit card, {}, and send the receipt.",
    ),
    "email": (
        "Send the report to {} before the end of the week.",
        "My email address is {} and I read it every morning.",
        "You should write to {} if the parcel does not arrive.",
    ),
    "name": (
        "My name is {} and I booked a table for tonight.",
        "Please tell {} that the meeting was moved to the afternoon.",
        "I spoke with Mr. {} about the broken window yesterday.",
    ),
}


@dataclass(frozen=True)
class Secret:
    """One sentence with a secret.

    Attributes:
        kind: ``phone``, ``card``, ``email`` or ``name``.
        text: the sentence as it is said.
        private: the secret, as it stands in the sentence.
        voice: system and voice.
        rate: of the recording, in Hz.
        snr_db: of white noise that is added, or None.
    """

    kind: str
    text: str
    private: str
    voice: tuple[System, str]
    rate: int
    snr_db: float | None = None


def draw_secrets(count: int, rng: np.random.Generator) -> list[Secret]:
    """Draw sentences, as many of each kind, voices and rates in turn, a fifth with noise."""
    makers: dict[str, Callable[[np.random.Generator], str]] = {
        "phone": _phone,
        "card": _card,
        "email": _email,
        "name": _name,
    }
    found = []
    for n in range(count):
        kind = list(makers)[n % len(makers)]
        private = makers[kind](rng)
        frame = _FRAMES[kind][int(rng.integers(len(_FRAMES[kind])))]
        if "Mr." in frame:
            private = private.split()[-1]
        voice = VOICES[(n // len(makers)) % len(VOICES)]
        rate = RATES[(n // 3) % len(RATES)]
        snr = 20.0 if n % 5 == 4 else None
        found.append(Secret(kind, frame.format(private), private, voice, rate, snr))
    return found


def speak(secret: Secret, seed: int) -> Utterance:
    """Return a sentence as speech, with noise where the secret asks for it.

    Raises:
        MissingDependencyError: if hibari-tts or the program flite is not installed.
        StepeditError: if a voice fails.
    """
    system, voice = secret.voice
    said = Utterance(*synthesis.speak(system, voice, secret.text, seed=seed)).resample(secret.rate)
    samples = np.asarray(said.samples * (0.7 / max(0.05, float(np.abs(said.samples).max()))))
    if secret.snr_db is not None:
        level = float(np.sqrt(np.mean(np.square(samples)))) * 10 ** (-secret.snr_db / 20)
        noise = np.random.default_rng(seed).standard_normal(len(samples)) * level
        samples = np.clip(samples + noise, -1, 1)
    return Utterance(samples.astype(np.float32), secret.rate, secret.text, "en")


def _said(digits: str, groups: Sequence[int], rng: np.random.Generator) -> str:
    """Return digits as people say them, in groups; now and then "oh", "double", or written."""
    style = int(rng.integers(4))
    parts, at = [], 0
    for size in groups:
        group = digits[at : at + size]
        at += size
        words = [_DIGITS[int(digit)] for digit in group]
        if style == 1:
            words = ["oh" if word == "zero" else word for word in words]
        if style == 2 and size == 4 and group[2] == group[3]:
            words = [*words[:2], "double", words[2]]
        parts.append(" ".join(words))
    return (", " if style == 3 else " ").join(parts)


def _phone(rng: np.random.Generator) -> str:
    digits = "".join(str(int(digit)) for digit in rng.integers(0, 10, 10))
    return _said(digits, (3, 3, 4), rng)


def _card(rng: np.random.Generator) -> str:
    head = "4" + "".join(str(int(digit)) for digit in rng.integers(0, 10, 14))
    check = next(str(digit) for digit in range(10) if luhn(head + str(digit)))
    return _said(head + check, (4, 4, 4, 4), rng)


def _email(rng: np.random.Generator) -> str:
    given, surname = _name(rng).lower().split()
    domain = _DOMAINS[int(rng.integers(len(_DOMAINS)))]
    local = (
        f"{given} dot {surname}",
        given,
        f"{given} underscore {surname}",
        f"{surname} five two",
    )
    end = ("com", "org", "net")[int(rng.integers(3))]
    return f"{local[int(rng.integers(4))]} at {domain} dot {end}"


def _name(rng: np.random.Generator) -> str:
    given, surname = (names[int(rng.integers(len(names)))] for names in (_GIVEN, _SURNAMES))
    return f"{given} {surname}"
