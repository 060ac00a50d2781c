"""Base class of judges behind an API: prompts, rate limit, retries, cache, counts and costs."""

from __future__ import annotations

import hashlib
import io
import json
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import soundfile as sf

from stepedit_bench.judges import prompts
from stepedit_bench.judges.answers import MalformedAnswer, read_answer
from stepedit_bench.judges.asking import AnswerCache, Pace, PassingFailure, Retries
from stepedit_bench.judges.prompts import Question
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["Answer", "RefusedAnswer", "RemoteJudge"]

RATE = 16_000
CACHE_VARIABLE = "STEPEDIT_JUDGE_CACHE"
_OUTPUT_TOKENS = {"label": 20, "rating": 80}
_TEXT_TOKENS = 450
"""Tokens of instructions and question; the longest, all 32 styles, has about 600."""


class RefusedAnswer(Exception):
    """The service answered that it will not answer; asking again is no use."""


@dataclass(frozen=True)
class Answer:
    """Answer of a service.

    Attributes:
        text: the answer.
        tokens_in: as the service counts them, or None.
        tokens_out: the same for the answer, thoughts included.
    """

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None


class RemoteJudge(Judge):
    """A language model that hears, asked through its API.

    Answers are kept on disk under what was asked (judge and its version, prompt, model,
    samples), so that a resumed run pays once. Refusals and answers that cannot be read are not
    kept; they give a verdict with ``refused`` and are counted in ``counts``.
    """

    default_model: ClassVar[str]
    key_variables: ClassVar[tuple[str, ...]]
    """Environment variables that may hold the key; it is taken from nowhere else."""
    audio_tokens_per_second: ClassVar[float]
    malformed_attempts: ClassVar[int] = 2

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        cache: str | None = None,
        per_minute: float | str = 60,
        timeout: float | str = 120,
        attempts: int | str = 6,
        price_input: float | str | None = None,
        price_output: float | str | None = None,
    ) -> None:
        """Read settings; text is taken as ``--judge-option NAME:setting=value`` gives it.

        Args:
            model: name of the model, ``default_model`` by default.
            base_url: address of the service, where it is not the client's own default.
            cache: folder of answers; by default STEPEDIT_JUDGE_CACHE, else
                ``~/.cache/stepedit/judges``; ``off`` keeps none.
            per_minute: requests a minute at most, for each process; 0 is no limit.
            timeout: seconds for one request.
            attempts: requests for one answer at most.
            price_input: price of a million input tokens, for the estimate.
            price_output: price of a million output tokens.

        Raises:
            StepeditError: if a setting is no number, or no key is in the environment.
        """
        self.model = model or self.default_model
        self.base_url = base_url
        self.timeout = self._number("timeout", timeout)
        self.price_input = self._price("price_input", price_input)
        self.price_output = self._price("price_output", price_output)
        self.retries = Retries(attempts=max(1, int(self._number("attempts", attempts))))
        self.pace = Pace(self._number("per_minute", per_minute))
        self.cache = None if cache == "off" else AnswerCache(_cache_folder(cache))
        self.counts: Counter[str] = Counter()
        self._key = self._find_key()

    def _number(self, name: str, value: float | str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise StepeditError(f"judge {self.name}: {name}={value!r} is no number") from None
        if not 0 <= number < float("inf"):
            raise StepeditError(f"judge {self.name}: {name}={value} must be 0 or more")
        return number

    def _price(self, name: str, value: float | str | None) -> float | None:
        return None if value is None else self._number(name, value)

    def _find_key(self) -> str:
        for variable in self.key_variables:
            key = os.environ.get(variable, "").strip()
            if key:
                return key
        return self.without_key()

    def without_key(self) -> str:
        """Return the placeholder of a key where there is none.

        Raises:
            StepeditError: where the service needs one.
        """
        raise StepeditError(f"judge {self.name}: set {' or '.join(self.key_variables)}")

    def tasks(self) -> Sequence[str]:
        """Return emotion, style and paralinguistic."""
        return ("emotion", "style", "paralinguistic")

    def estimate(self, calls: int, audio_seconds: float) -> str:
        """Return the tokens that some questions will take and, with prices, their cost."""
        into = calls * _TEXT_TOKENS + audio_seconds * self.audio_tokens_per_second
        out = calls * max(_OUTPUT_TOKENS.values())
        text = (
            f"at most {calls} questions to {self.model}, {audio_seconds / 60:.0f} min of audio: "
            f"about {into / 1e6:.2f} M tokens in, {out / 1e6:.2f} M out (thoughts not counted)"
        )
        if self.price_input is None or self.price_output is None:
            return f"{text}; set price_input and price_output per million tokens for the cost"
        cost = (into * self.price_input + out * self.price_output) / 1e6
        return f"{text}, about {cost:.2f} in the currency of the prices"

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Ask about an utterance; the reference is not sent, as the public protocol has it.

        Raises:
            StepeditError: if the service rejects the request itself (key, model, address).
        """
        asked = prompts.build(task, labels, question)
        if isinstance(asked, str):
            return Verdict(refused=asked)
        wav = wave_of(utterance)
        key = self.cache_key(asked, wav)
        kept = self._kept(asked, key)
        if kept is not None:
            self.counts["cached"] += 1
            return kept
        verdict, text = self._ask(asked, wav)
        if self.cache and text is not None:
            about = {"judge": self.name, "version": self.version, "model": self.model, "task": task}
            self.cache.put(key, text, about)
        return verdict

    def _kept(self, asked: Question, key: str) -> Verdict | None:
        """Return the verdict of a kept answer; one that cannot be read is asked for again."""
        text = self.cache.get(key) if self.cache else None
        try:
            return None if text is None else read_answer(asked, text)
        except MalformedAnswer:
            return None

    def cache_key(self, asked: Question, wav: bytes) -> str:
        """Return the SHA-256 of everything that decides an answer."""
        parts = [
            self.name, self.version, prompts.VERSION, self.model, self.base_url,
            asked.system, asked.text, hashlib.sha256(wav).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _ask(self, asked: Question, wav: bytes) -> tuple[Verdict, str | None]:
        """Return the verdict, and the text to keep where there is one."""
        why = ""
        for _ in range(self.malformed_attempts):
            try:
                answer = self.retries.run(lambda: self._send(asked, wav))
            except PassingFailure as failure:
                return self._refused("failed", f"no answer from {self.model}: {failure}")
            except RefusedAnswer as refusal:
                return self._refused("refused", f"{self.model} refused: {refusal}")
            try:
                verdict = read_answer(asked, answer.text)
            except MalformedAnswer as error:
                self.counts["malformed"] += 1
                why = str(error)
                continue
            self.counts["answered"] += 1
            return verdict, answer.text
        return self._refused("unreadable", f"{self.model} gave no readable answer: {why}")

    def _refused(self, kind: str, why: str) -> tuple[Verdict, None]:
        self.counts[kind] += 1
        return Verdict(refused=self.safe(why)), None

    def _send(self, asked: Question, wav: bytes) -> Answer:
        self.pace.wait()
        self.counts["requests"] += 1
        answer = self.send(asked, wav)
        self.counts["tokens_in"] += answer.tokens_in or 0
        self.counts["tokens_out"] += answer.tokens_out or 0
        return answer

    @abstractmethod
    def send(self, asked: Question, wav: bytes) -> Answer:
        """Send one request.

        Args:
            asked: instructions and question.
            wav: the utterance, 16 kHz, 16 bit.

        Raises:
            PassingFailure: for what may pass.
            RefusedAnswer: where the service will not answer.
            StepeditError: for what will not pass, such as a wrong key.
        """

    def failure(self, code: int, text: str, wait: float | None) -> Exception:
        """Return the error for an HTTP status."""
        short = self.safe(" ".join(text.split())[:200])
        if code in (408, 409, 425, 429) or code >= 500:
            return PassingFailure(f"HTTP {code} {short}", wait)
        return StepeditError(f"judge {self.name}: {self.model}: HTTP {code} {short}")

    def safe(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self._key, "***") if len(self._key) > 3 else text


def wave_of(utterance: Utterance) -> bytes:
    """Return an utterance as a WAV file of 16 kHz and 16 bit, the same bytes each time."""
    buffer = io.BytesIO()
    samples = utterance.resample(RATE).samples
    sf.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _cache_folder(named: str | None) -> Path:
    folder = named or os.environ.get(CACHE_VARIABLE)
    return Path(folder).expanduser() if folder else Path.home() / ".cache" / "stepedit" / "judges"
