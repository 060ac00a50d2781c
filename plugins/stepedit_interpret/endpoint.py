"""An OpenAI-compatible chat endpoint that answers in a strict JSON Schema, and what it costs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from stepedit_core import InterpretationError, counted, printable

__all__ = ["Endpoint"]

MODEL = "STEPEDIT_INTERPRET_MODEL"
PRICES = "STEPEDIT_INTERPRET_PRICES"
SECONDS = 60.0
MOST_TOKENS = 2_000


class Endpoint:
    """Asks one model; address and key from OPENAI_BASE_URL and OPENAI_API_KEY.

    STEPEDIT_INTERPRET_PRICES gives the price of a million tokens in and out, as in ``0.15,0.60``;
    a cost that the endpoint states itself comes first.
    """

    def __init__(self, model: str | None) -> None:
        """Make a client; nothing is sent yet.

        Raises:
            InterpretationError: if a package, the key or the model's name is missing.
        """
        self.model = model or os.environ.get(MODEL, "")
        if not self.model:
            raise InterpretationError(
                f"interpreter model: which model is not said; give model:NAME or set {MODEL}"
            )
        if find_spec("openai") is None:
            raise InterpretationError(
                "interpreter model: the package openai is not installed; "
                "pip install 'stepedit[interpret]'"
            )
        if not os.environ.get("OPENAI_API_KEY"):
            raise InterpretationError(
                "interpreter model: OPENAI_API_KEY is not set; a local server takes any value"
            )
        import openai

        self._prices = _prices()
        self._client: Any = openai.OpenAI(max_retries=2, timeout=SECONDS)
        self._calls, self._sent, self._received = 0, 0, 0
        self._stated: float | None = None

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
        """Return the text of an answer in a schema, at temperature 0.

        Raises:
            InterpretationError: if the endpoint fails, refuses, or stops early.
        """
        form = {"name": "chain", "strict": True, "schema": schema}
        try:
            answer = self._client.chat.completions.create(
                model=self.model,
                messages=list(messages),
                temperature=0,
                max_tokens=MOST_TOKENS,
                response_format={"type": "json_schema", "json_schema": form},
            )
            self._count(answer.usage)
            choice = answer.choices[0]
        except Exception as error:  # the client's errors, and answers of another shape
            why = printable(" ".join(str(error).split()), 200)
            raise InterpretationError(f"model {self.model}: {why}") from error
        if getattr(choice.message, "refusal", None):
            raise InterpretationError(
                f"model {self.model} refuses: {printable(choice.message.refusal, 200)}"
            )
        if choice.finish_reason in ("length", "content_filter"):
            stopped = {"length": f"at {MOST_TOKENS} tokens", "content_filter": "by its filter"}
            raise InterpretationError(
                f"model {self.model}: the answer was stopped {stopped[choice.finish_reason]}"
            )
        return choice.message.content or ""

    def cost(self) -> str:
        """Return in a line what was asked and what it cost."""
        times = counted(self._calls, "request")
        line = (
            f"read by {self.model}: {times}, {counted(self._sent, 'token')} "
            f"sent, {self._received} received"
        )
        money = self._stated
        if money is None and self._prices is not None:
            money = (self._sent * self._prices[0] + self._received * self._prices[1]) / 1e6
        return line if money is None else f"{line}, {money:.6f} USD"

    def _count(self, usage: Any) -> None:
        """Add up what a request took."""
        self._calls += 1
        self._sent += getattr(usage, "prompt_tokens", None) or 0
        self._received += getattr(usage, "completion_tokens", None) or 0
        stated = getattr(usage, "cost", None)
        if isinstance(stated, int | float):
            self._stated = (self._stated or 0.0) + stated


def _prices() -> tuple[float, float] | None:
    """Return the prices of a million tokens in and out; raises InterpretationError."""
    text = os.environ.get(PRICES)
    if not text:
        return None
    try:
        sent, received = map(float, text.split(","))
    except ValueError as error:
        raise InterpretationError(f"{PRICES}={text!r}: give two prices, as in 0.15,0.60") from error
    return sent, received
