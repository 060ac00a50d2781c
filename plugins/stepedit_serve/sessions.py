"""Sessions: a recording and the tree of its versions, with what made each of them."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile as sf

from stepedit_core import (
    Accept,
    Alignment,
    AlignmentError,
    Chain,
    ChainResult,
    Interpretation,
    Recording,
    RecordingResult,
    Setting,
    StepeditError,
    Utterance,
)
from stepedit_serve.bodies import EditRequest
from stepedit_serve.database import new_id
from stepedit_serve.errors import ApiError, Cancelled
from stepedit_serve.keys import Key
from stepedit_serve.requests_in import chain_from, chain_said, guarded, said
from stepedit_serve.service import Service
from stepedit_serve.tables import Node, Session
from stepedit_serve.words_of_long import after_edit, align_long, cues_json, read_subtitles

__all__ = ["Work", "ask", "audio_key", "begin_session", "edit_version", "setting_of", "time_words"]

Progress = Callable[[int, int], None]


@dataclass
class Work:
    """How far one edit is, and whether it is still wanted.

    Attributes:
        job: the job that it belongs to, or None.
        folder: where its files under way lie; the same when a job is run again.
        on_progress: told what is done and how much there is.
        cancelled: set where it is not wanted any more.
    """

    folder: Path
    job: str | None = None
    on_progress: Progress = lambda done, total: None
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)

    def tell(self, done: int, total: int) -> None:
        """Pass progress on; raises Cancelled where the edit is not wanted any more."""
        if self.cancelled.is_set():
            raise Cancelled("cancelled")
        self.on_progress(done, total)

    def counting(self, total: int) -> Callable[[Any], None]:
        """Return what a chain of so many steps calls after each of them, to pass progress on."""
        done = 0
        self.tell(0, total)

        def on_step(step: Any) -> None:
            nonlocal done
            done += 1
            self.tell(min(done, total), total)

        return on_step


def audio_key(session: str, node: str) -> str:
    """Return where the store has a version's audio."""
    return f"sessions/{session}/{node}.wav"


# The root --------------------------------------------------------------------------------


def begin_session(
    service: Service,
    key: Key,
    audio: Path,
    facts: dict[str, Any],
    *,
    title: str,
    transcript: str | None,
    language: str | None,
    subtitles: Path | None,
) -> Session:
    """Store a recording as the root of a new session.

    Args:
        service: has the stores.
        key: whose session it is.
        audio: the recording as mono WAV.
        facts: rate, seconds and notes of it.
        title: of the session.
        transcript: its words, or None.
        language: BCP 47 tag, or None.
        subtitles: a file with its words and their times, or None.

    Raises:
        StepeditError: if the subtitles are damaged or not this recording's.
    """
    known, notes = None, list(facts["notes"])
    if subtitles is not None:
        known, more = service.workers.call(read_subtitles, str(audio), str(subtitles), language)
        notes = list(
            dict.fromkeys([*notes, *(note.replace(str(subtitles), "subtitles") for note in more)])
        )
        transcript = known.text if known is not None else transcript
    session_id, node_id, now = new_id("sess"), new_id("node"), time.time()
    with sf.SoundFile(audio) as sound:
        subtype = sound.subtype
    service.audio.put(audio_key(session_id, node_id), audio)
    session = Session(
        id=session_id, owner=key.name, title=title, created=now, changed=now, head=node_id,
        root=node_id, branches={}, count=1,
    )  # fmt: skip
    node = Node(
        id=node_id, session=session_id, parent=None, number=0, title="source", chain=None,
        report=None, say=None, seed=0, created=now, seconds=float(facts["seconds"]),
        sample_rate=int(facts["rate"]), subtype=subtype, transcript=transcript,
        language=language, alignment=None if known is None else known.to_data(), notes=notes,
        job=None,
    )  # fmt: skip
    try:
        service.database.add(session, node)
    except BaseException:
        service.audio.remove(f"sessions/{session_id}")
        raise
    return session


# Versions --------------------------------------------------------------------------------


@contextmanager
def audio_of(service: Service, node: Node) -> Iterator[Path]:
    """Give the path of a version's audio while it is needed."""
    spooled = service.spooled(".wav")
    try:
        yield service.audio.fetch(audio_key(node.session, node.id), spooled)
    finally:
        spooled.unlink(missing_ok=True)


def alignment_of(node: Node) -> Alignment | None:
    """Return what is known of when a version's words are said."""
    return None if node.alignment is None else Alignment.from_data(node.alignment)


def utterance_of(service: Service, node: Node) -> Utterance:
    """Return a version's sound with its words."""
    with audio_of(service, node) as path:
        found = Utterance.read(
            path,
            node.transcript,
            node.language,
            max_seconds=service.settings.max_session_seconds,
        )
    known = alignment_of(node)
    return found if known is None else found.replace(alignment=known)


def setting_of(service: Service, owner: str, session: str, node: str | None) -> Setting:
    """Return what is known of a version without its sound; raises ApiError (404)."""
    found = service.database.owned(Session, session, owner)
    row = service.database.node(session, node or found.head)
    return Setting(row.transcript, row.seconds, alignment_of(row))


def time_words(service: Service, node: Node) -> Alignment:
    """Return when a version's words are said; found out once and kept.

    Raises:
        StepeditError: if there are no words, or nothing that is installed times them.
    """
    known = alignment_of(node)
    if known is not None:
        return known
    if node.seconds <= service.settings.long_seconds:
        timed = service.timed(utterance_of(service, node))
        assert timed.alignment is not None
        found, language = timed.alignment, timed.language
    else:
        with audio_of(service, node) as path:
            found, language = service.workers.call(
                align_long, str(path), node.transcript, node.language
            )
    service.database.change_node(
        node.id, alignment=found.to_data(), transcript=found.text, language=language
    )
    return found


# Edits -----------------------------------------------------------------------------------


def ask(service: Service, key: Key, node: Node, asked: EditRequest) -> tuple[Chain, EditRequest]:
    """Return the chain that is asked of a version, and the request with the sentences it is about.

    Raises:
        ApiError: if it is no chain, or nothing does what a sentence asks for.
    """
    if (asked.chain is None) == (asked.say is None):
        raise ApiError(400, "invalid_request", "give chain or say, one of them", param="chain")
    if asked.chain is not None:
        return guarded(chain_from(asked.chain), key, asked.consent_attestation), asked
    setting = Setting(node.transcript, node.seconds, alignment_of(node))
    found = said(str(asked.say), setting)
    needs_times = not found.alternatives and any(one.region for one in found.readings)
    if needs_times and setting.alignment is None:
        known = time_words(service, node)
        found = said(str(asked.say), Setting(known.text, node.seconds, known))
    if node.seconds > service.settings.long_seconds and needs_times:
        chain, sentences = _whole_sentences(found)
        asked = asked.model_copy(update={"sentences": sentences})
    else:
        chain = chain_said(found)
    return guarded(chain, key, asked.consent_attestation), asked


def _whole_sentences(found: Interpretation) -> tuple[Chain, list[int]]:
    """Return the edits of a reading about sentences, and their numbers; raises ApiError (400)."""
    regions = [one.region for one in found.readings]
    first = regions[0]
    if first is None or first.outside or not first.sentences or any(r != first for r in regions):
        raise ApiError(
            400,
            "invalid_sentence",
            "in a long recording, one request is about the same sentences: name them, such as "
            "'the third sentence', or select them",
            param="say",
        )
    return Chain(one.edit for one in found.readings), list(first.sentences)


def edit_version(
    service: Service,
    owner: str,
    node: Node,
    chain: Chain,
    asked: EditRequest,
    work: Work,
    *,
    head_was: str,
) -> Node:
    """Edit a version and append what comes out; blocks.

    The head moves to the new version if it still is ``head_was``.

    Raises:
        StepeditError: if the chain does not fit, or a step fails; nothing is appended then.
    """
    if work.job is not None:
        made = service.database.node_of_job(work.job)
        if made is not None:
            return made
    service.database.owned(Session, node.session, owner)
    work.folder.mkdir(parents=True, exist_ok=True)
    is_long = node.seconds > service.settings.long_seconds or asked.sentences is not None
    new = Node(
        id=new_id("node"), session=node.session, parent=node.id, number=0,
        title=asked.title or _title(chain, asked), chain=chain.to_data(), say=asked.say,
        seed=asked.seed, created=time.time(), language=node.language, job=work.job,
    )  # fmt: skip
    audio = work.folder / "result.wav"
    if is_long:
        _edit_pieces(service, node, chain, asked, work, new, audio)
    else:
        _edit_whole(service, node, chain, asked, work, new, audio)
    service.audio.put(audio_key(new.session, new.id), audio)
    made = service.database.append(new, head_was=head_was)
    shutil.rmtree(work.folder, ignore_errors=True)
    return made


def _title(chain: Chain, asked: EditRequest) -> str:
    """Return what a version is called where nobody says."""
    names = [_name(edit.to_data()) for edit in chain.unrolled()]
    text = asked.say or ", ".join(names)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _name(data: Mapping[str, Any]) -> str:
    """Return the name of an edit, of one that is confined to spans that of the edit inside."""
    inner = data.get("inner")
    return _name(inner) if isinstance(inner, Mapping) and "edit" in inner else str(data["edit"])


def _edit_whole(
    service: Service,
    node: Node,
    chain: Chain,
    asked: EditRequest,
    work: Work,
    new: Node,
    audio: Path,
) -> None:
    """Run a chain on a whole version."""
    on_step = work.counting(len(chain.unrolled()))
    result: ChainResult = service.run_chain(
        chain,
        utterance_of(service, node),
        seed=asked.seed,
        route=asked.route,
        accept=asked.accept,
        cancelled=work.cancelled,
        on_step=on_step,
    )
    made = result.utterance
    made.write(audio, subtype="FLOAT")
    known = made.alignment
    new.report, new.notes = result.report(), [*result.notes]
    new.seconds, new.sample_rate, new.subtype = made.seconds, made.sample_rate, "FLOAT"
    new.transcript = made.transcript
    new.alignment = None if known is None else known.to_data()


def _edit_pieces(
    service: Service,
    node: Node,
    chain: Chain,
    asked: EditRequest,
    work: Work,
    new: Node,
    audio: Path,
) -> None:
    """Run a chain over a version piece by piece, or over some of its sentences."""
    known = time_words(service, node) if asked.sentences is not None else alignment_of(node)
    with audio_of(service, node) as path:
        options: dict[str, Any] = {"language": node.language}
        if known is not None:
            cues = work.folder / "sentences.json"
            cues_json(known, cues)
            options["subtitles"] = cues
        elif node.transcript:
            options["text"] = node.transcript
        recording = Recording.read(path, **options)
        with service.under_way():
            result: RecordingResult = recording.edit(
                chain,
                audio,
                engine=service.engine_for(work.cancelled),
                seed=asked.seed,
                route=asked.route,
                accept=Accept.of(asked.accept),
                segments=asked.sentences,
                on_piece=work.tell,
            )
    failed = [piece.left for piece in result.pieces if piece.details.get("failed")]
    report = result.report()
    report["output"] = None
    new.report, new.notes = report, [*result.notes, *map(str, failed[:3])]
    new.seconds, new.sample_rate = result.seconds, node.sample_rate
    with sf.SoundFile(audio) as sound:
        new.subtype = sound.subtype
    _carry_words(new, node, known, result.segments)


def _carry_words(new: Node, node: Node, known: Alignment | None, segments: Sequence[Any]) -> None:
    """Give an edited version its words and their times."""
    found = None
    if known is not None and len(segments) == len(known.sentences):
        try:
            found = after_edit(known, segments)
        except AlignmentError:
            found = None
    texts = [str(part.text).strip() for part in segments if part.text]
    new.transcript = found.text if found is not None else " ".join(texts) or node.transcript
    new.alignment = None if found is None else found.to_data()


def whole_chain(service: Service, node: Node) -> Chain:
    """Return the chain from the source to a version.

    Raises:
        StepeditError: if it cannot be written as one chain, for some edits were about sentences.
    """
    parts: list[Chain] = []
    nodes = {one.id: one for one in service.database.nodes(node.session)}
    current: Node | None = node
    while current is not None and current.chain is not None:
        parts.append(Chain.from_data(current.chain))
        current = nodes.get(current.parent or "")
    whole = Chain([])
    for part in reversed(parts):
        whole = whole + part
    if not len(whole):
        raise StepeditError("this version is the source: no chain leads to it")
    return whole
