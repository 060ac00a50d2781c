"""What the service answers: the models that the description of its routes is made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stepedit_serve.bodies import AudioFormat

__all__ = [
    "AlignmentOut",
    "Alternative",
    "Deleted",
    "EditAnswer",
    "EditInfoOut",
    "Edits",
    "ErrorBody",
    "ErrorOut",
    "ExplainedEdit",
    "FieldNamesOut",
    "Health",
    "History",
    "Interpreted",
    "JobError",
    "JobOut",
    "JobPending",
    "Jobs",
    "MarkOut",
    "ModelOut",
    "Models",
    "NodeMade",
    "NodeOut",
    "PhrasesOut",
    "PluginOut",
    "Progress",
    "SentenceOut",
    "SessionOut",
    "SessionSummary",
    "Sessions",
    "StepSummary",
    "TranscriptionOut",
    "VoiceConsentOut",
    "VoiceOut",
    "Voices",
    "WordOut",
]

JobKind = Literal["edit", "session_edit", "align"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class _Given(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ErrorBody(_Given):
    """What went wrong."""

    message: str
    """One line: what, where, and what to do."""
    type: str
    code: str
    param: str | None = None
    """The field that is at fault."""
    alternatives: list[dict[str, Any]] | None = None
    """Readings of an ambiguous sentence."""


class ErrorOut(_Given):
    """The body of every answer from status 400 on."""

    error: ErrorBody


# What can be done ------------------------------------------------------------------------


class Health(_Given):
    """Whether the service works, and how busy it is."""

    status: Literal["ok", "stuck"] = "ok"
    """Stuck, with the HTTP status 503: its event loop has not said anything for a minute."""
    version: str
    engine: str | None
    waiting: int
    """Requests that wait for the engine or a worker."""
    running: int
    uptime: float
    """Seconds since the start."""
    silent: float = 0.0
    """Seconds since the service's event loop said so."""


class ModelOut(_Given):
    """One model, as OpenAI lists them."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class Models(_Given):
    """The models that are loaded."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class PluginOut(_Given):
    """Where an edit comes from."""

    name: str
    distribution: str
    version: str


class FieldNamesOut(_Given):
    """What a parameter and its values are called in other languages than their own."""

    name: dict[str, str]
    """By language (``zh``)."""
    about: dict[str, str]
    """Its description, by language."""
    values: dict[str, dict[str, str]]
    """The names of values, by value and language."""


class PhrasesOut(_Given):
    """How people ask for an edit, and what they call its parameters."""

    does: dict[str, str]
    whole: bool
    examples: list[dict[str, str | None]]
    fields: dict[str, FieldNamesOut] = Field(default_factory=dict)


class EditInfoOut(_Given):
    """One edit and its parameters."""

    name: str
    title: str
    summary: str
    routes: list[str]
    route: str | None
    """What ``auto`` takes with the present engine; null where nothing can carry it out."""
    needs_transcript: list[str]
    """Routes that need the words."""
    known_to_engine: bool
    plugin: PluginOut
    parameters: dict[str, Any]
    """JSON Schema."""
    phrases: PhrasesOut | None = None
    consent: bool = False
    """Whether a request needs ``consent_attestation``."""


class Edits(_Given):
    """All installed edits."""

    engine: str | None
    edits: list[EditInfoOut]


class EditAnswer(_Given):
    """An edited recording as JSON."""

    audio: str
    """Base64."""
    format: AudioFormat
    seconds: float
    sample_rate: int
    transcript: str | None
    chain: dict[str, Any]
    report: dict[str, Any]
    notes: list[str]


# Words -----------------------------------------------------------------------------------


class WordOut(_Given):
    """One word and when it is said, in seconds."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    speaker: str | None = None


class SentenceOut(_Given):
    """One sentence."""

    text: str
    start: float
    end: float
    words: tuple[int, int]
    """Index of the first word, and after the last one."""
    speaker: str | None = None


class AlignmentOut(_Given):
    """The words of a recording on its time axis."""

    text: str
    aligner: str
    words: list[WordOut]
    sentences: list[SentenceOut]
    notes: list[str]


class TranscriptionOut(_Given):
    """What a recogniser heard."""

    text: str
    language: str | None
    recogniser: str
    words: list[WordOut]


class ExplainedEdit(_Given):
    """One edit and the words that it was read from."""

    edit: str
    where: dict[str, Any] | None
    read_from: str


class Alternative(_Given):
    """One reading of an ambiguous sentence."""

    chain: dict[str, Any] | None
    explanation: list[ExplainedEdit]


class Interpreted(_Given):
    """What a sentence was read as."""

    chain: dict[str, Any] | None
    explanation: list[ExplainedEdit]
    alternatives: list[Alternative]
    question: str = ""


# Jobs ------------------------------------------------------------------------------------


class Progress(_Given):
    """How far a job is, in pieces of the recording."""

    done: int = 0
    total: int = 0
    seconds_left: float | None = None


class JobError(_Given):
    """Why a job failed."""

    message: str
    code: str


class JobOut(_Given):
    """A piece of work that goes on while nobody waits."""

    id: str
    kind: JobKind
    state: JobState
    created: float
    """Seconds since 1970, as all points in time here."""
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    progress: Progress
    attempts: int = 0
    error: JobError | None = None
    session: str | None = None
    node: str | None = None
    format: str = "wav"
    notes: list[str] = Field(default_factory=list)


class JobPending(_Given):
    """An answer that is not there yet."""

    job: JobOut


class Jobs(_Given):
    """The jobs of a key, newest first."""

    jobs: list[JobOut]


# Sessions --------------------------------------------------------------------------------


class StepSummary(_Given):
    """One finished edit, in short."""

    edit: str
    route: str
    engine: str | None
    seconds: float


class MarkOut(_Given):
    """The mark in the sound of a version, as it is handed out."""

    name: str
    """``none`` where it carries none."""
    why: Literal["unedited", "too_long", "off", "missing", "failed"] | None = None
    """Why it carries none: it is the source, it was edited piece by piece, the service was started
    without marks, or the mark is not installed or does not work here."""
    text: str | None = None
    """The same in one line."""


class NodeOut(_Given):
    """One version of a session's recording."""

    id: str
    session: str
    parent: str | None
    number: int
    title: str
    chain: dict[str, Any] | None
    steps: list[StepSummary]
    say: str | None
    seed: int
    created: float
    seconds: float
    sample_rate: int
    transcript: str | None
    language: str | None
    has_alignment: bool
    notes: list[str]
    mark: MarkOut
    report: dict[str, Any] | None = None


class SessionSummary(_Given):
    """A session in a list."""

    id: str
    title: str
    created: float
    changed: float
    nodes: int
    seconds: float


class Sessions(_Given):
    """The sessions of a key, newest first."""

    sessions: list[SessionSummary]


class SessionOut(_Given):
    """A recording and the tree of its versions."""

    id: str
    title: str
    created: float
    changed: float
    head: str
    root: str
    language: str | None
    branches: dict[str, str]
    nodes: list[NodeOut]
    can_undo: bool
    can_redo: bool


class NodeMade(_Given):
    """A new version, and the session with it."""

    node: NodeOut
    session: SessionOut


class History(_Given):
    """Every version with its full provenance."""

    session: str
    head: str
    nodes: list[NodeOut]


# Speech in a voice -----------------------------------------------------------------------


class VoiceOut(_Given):
    """A voice that was stored."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    created_at: int
    type: Literal["audio_sample"] = "audio_sample"
    language: str | None = None
    seconds: float


class Voices(_Given):
    """The voices of a key; ``voices`` repeats ``data`` for clients that look there."""

    object: Literal["list"] = "list"
    data: list[VoiceOut]
    voices: list[VoiceOut]


class VoiceConsentOut(_Given):
    """A recording in which a speaker consents."""

    id: str
    object: Literal["audio.voice_consent"] = "audio.voice_consent"
    name: str
    language: str
    created_at: int


class Deleted(_Given):
    """What was removed."""

    id: str
    object: str
    deleted: bool = True
