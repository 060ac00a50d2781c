"""The judge ``gemini``: Google's models that hear, through google-genai."""

from __future__ import annotations

from typing import Any, ClassVar

from stepedit_bench.judges.asking import PassingFailure, retry_after
from stepedit_bench.judges.prompts import Question
from stepedit_bench.judges.remote import Answer, RefusedAnswer, RemoteJudge
from stepedit_bench.measuring.extras import need

__all__ = ["GeminiJudge"]


class GeminiJudge(RemoteJudge):
    """Asks Gemini; the key is read from GEMINI_API_KEY or GOOGLE_API_KEY and sent as a header."""

    name: ClassVar[str] = "gemini"
    version: ClassVar[int] = 1
    validation: ClassVar[str] = (
        "the model of the public benchmark with our wording; its agreement with people was not "
        "measured here"
    )
    default_model: ClassVar[str] = "gemini-2.5-pro"
    key_variables: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    audio_tokens_per_second: ClassVar[float] = 32.0

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        """Make a client; nothing is sent yet. Settings are those of ``RemoteJudge``."""
        super().__init__(model, **settings)
        library = need("google.genai", "google-genai", "the judge gemini")
        self._types = need("google.genai.types", "google-genai", "the judge gemini")
        self._errors = need("google.genai.errors", "google-genai", "the judge gemini")
        options = self._types.HttpOptions(
            base_url=self.base_url,
            timeout=round(self.timeout * 1000),
            # Repeating is ours: one policy for all services, at one pace.
            retry_options=self._types.HttpRetryOptions(attempts=1),
        )
        self._client: Any = library.Client(vertexai=False, api_key=self._key, http_options=options)

    def send(self, asked: Question, wav: bytes) -> Answer:
        """Send one request to ``generateContent``; temperature 0, JSON asked for."""
        types = self._types
        config = types.GenerateContentConfig(
            system_instruction=asked.system,
            temperature=0.0,
            seed=0,
            response_mime_type="application/json",
        )
        contents = [types.Part.from_bytes(data=wav, mime_type="audio/wav"), asked.text]
        try:
            found = self._client.models.generate_content(
                model=self.model, contents=contents, config=config
            )
        except self._errors.APIError as error:
            headers = getattr(error.response, "headers", None)
            raise self.failure(
                int(error.code or 500), str(error.message or error), retry_after(headers)
            ) from None
        except Exception as error:
            raise _transport(error) from None
        return self._read(found)

    def _read(self, found: Any) -> Answer:
        """Return the text of a response.

        Raises:
            RefusedAnswer: if it was blocked or holds no text.
        """
        feedback = found.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            raise RefusedAnswer(f"blocked ({_name(feedback.block_reason)})")
        candidate = found.candidates[0] if found.candidates else None
        parts = (candidate.content.parts or []) if candidate and candidate.content else []
        text = "".join(part.text or "" for part in parts if not part.thought)
        if not text.strip():
            reason = _name(candidate.finish_reason) if candidate else "no candidate"
            raise RefusedAnswer(f"no text ({reason})")
        usage = found.usage_metadata
        if usage is None:
            return Answer(text)
        out = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        return Answer(text, usage.prompt_token_count, out)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _transport(error: Exception) -> Exception:
    """Return a passing failure for what the HTTP library raises, anything else as it is.

    The client builds on httpx, httpx2 or requests by its version; all name their errors alike.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"TransportError", "TimeoutException", "RequestException", "ConnectionError"}:
        return PassingFailure(type(error).__name__)
    if isinstance(error, ValueError):  # a body that is not JSON, from a proxy or a cut connection
        return PassingFailure(f"unreadable response ({type(error).__name__})")
    return error
