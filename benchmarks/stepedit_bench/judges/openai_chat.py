"""The judge ``openai``: any chat endpoint that takes audio and speaks OpenAI's protocol."""

from __future__ import annotations

import base64
import os
from typing import Any, ClassVar

from stepedit_bench.judges.asking import PassingFailure, retry_after
from stepedit_bench.judges.prompts import Question
from stepedit_bench.judges.remote import Answer, RefusedAnswer, RemoteJudge
from stepedit_bench.measuring.extras import need

__all__ = ["OpenAIJudge"]


class OpenAIJudge(RemoteJudge):
    """Asks a chat endpoint; an open model on vLLM serves as well as a paid one.

    The address is the option ``base_url`` or OPENAI_BASE_URL, the key OPENAI_API_KEY; an own
    address needs no key.
    """

    name: ClassVar[str] = "openai"
    version: ClassVar[int] = 1
    validation: ClassVar[str] = (
        "depends on the model behind the endpoint; its agreement with people was not measured here"
    )
    default_model: ClassVar[str] = "gpt-audio"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    audio_tokens_per_second: ClassVar[float] = 10.0

    def __init__(
        self, model: str | None = None, *, base_url: str | None = None, **settings: Any
    ) -> None:
        """Make a client; nothing is sent yet. Settings are those of ``RemoteJudge``."""
        address = base_url or os.environ.get("OPENAI_BASE_URL") or None
        super().__init__(model, base_url=address, **settings)
        self._library = need("openai", "openai", "the judge openai")
        self._client: Any = self._library.OpenAI(
            api_key=self._key, base_url=address, timeout=self.timeout, max_retries=0
        )

    def without_key(self) -> str:
        """Return a placeholder for an own endpoint, which asks for no key."""
        return "none" if self.base_url else super().without_key()

    def send(self, asked: Question, wav: bytes) -> Answer:
        """Send one request to ``chat/completions``; temperature 0."""
        audio = {"data": base64.b64encode(wav).decode("ascii"), "format": "wav"}
        messages = [
            {"role": "system", "content": asked.system},
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": audio},
                    {"type": "text", "text": asked.text},
                ],
            },
        ]
        try:
            found = self._client.chat.completions.create(
                model=self.model, messages=messages, temperature=0.0, seed=0
            )
        except self._library.APIStatusError as error:
            wait = retry_after(error.response.headers)
            raise self.failure(error.status_code, error.message, wait) from None
        except self._library.APIConnectionError as error:  # time-outs are of this kind
            raise PassingFailure(type(error).__name__) from None
        except self._library.APIResponseValidationError as error:
            raise PassingFailure(f"unreadable response ({type(error).__name__})") from None
        except ValueError as error:
            raise PassingFailure(f"unreadable response ({type(error).__name__})") from None
        return _read(found)


def _read(found: Any) -> Answer:
    """Return the text of a completion.

    Raises:
        RefusedAnswer: if the model declined, a filter stopped it, or there is no text.
        PassingFailure: if the response is none that the protocol knows.
    """
    choices = getattr(found, "choices", None)
    if not choices:
        raise PassingFailure("a response without choices")
    choice = choices[0]
    refusal = getattr(choice.message, "refusal", None)
    if refusal:
        raise RefusedAnswer(" ".join(str(refusal).split())[:160])
    text = choice.message.content
    if choice.finish_reason == "content_filter" or not text or not text.strip():
        raise RefusedAnswer(f"no text ({choice.finish_reason})")
    usage = found.usage
    tokens = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return Answer(text, *tokens)
