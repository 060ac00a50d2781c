"""The tools: list_edits, align, interpret, edit, undo, measure."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from anyio import from_thread
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from stepedit_core import (
    Chain,
    EngineConfig,
    Interpretation,
    InterpretationError,
    Setting,
    StepeditError,
    Utterance,
    align,
    format_edit,
    get_registry,
    interpret,
    load_engine,
    printable,
)
from stepedit_interpret.mcp_server.folder import Folder
from stepedit_interpret.mcp_server.results import (
    Aligned,
    Edited,
    EditKind,
    Interpreted,
    Listed,
    Measured,
    Read,
    StepDone,
    Undone,
)

if TYPE_CHECKING:
    from stepedit_core import SpeechEngine

__all__ = ["LONGEST", "Tools"]

LONGEST = 400
"""Characters of a line that says what is wrong."""
MOST_REQUESTS = 16
Recording = Annotated[str, Field(description="Path of a sound file, relative to the folder.")]
Words = Annotated[str | None, Field(description="The words spoken in the recording.")]
Language = Annotated[str | None, Field(description="BCP 47 tag such as en or zh.")]
Requests = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=MOST_REQUESTS,
        description="Sentences in English or Mandarin; later ones correct earlier ones.",
    ),
]


@contextmanager
def told(folder: Folder) -> Iterator[None]:
    """Let what is wrong with a request reach the client as one line, paths as the client's."""
    try:
        yield
    except StepeditError as error:
        said = " ".join(str(error).split()).replace(f"{folder.root}{os.sep}", "")
        raise ToolError(printable(said, LONGEST)) from error


def _hold_wanted() -> None:
    """Stop the work of a call that the client has cancelled; a thread cannot be stopped itself."""
    try:
        from_thread.check_cancelled()
    except RuntimeError:
        return  # called in no thread of a server


class Tools:
    """Works on the files of one folder, one recording at a time."""

    def __init__(self, folder: Folder, interpreter: str, engine: str | None) -> None:
        """Take the folder, who reads sentences, and the engine of the llm route, if any."""
        self._folder, self._interpreter, self._engine_name = folder, interpreter, engine
        self._busy = threading.Lock()

    @cached_property
    def _engine(self) -> SpeechEngine | None:
        """The engine, loaded on first use."""
        if self._engine_name is None:
            return None
        return load_engine(EngineConfig(name_or_path=self._engine_name))

    def list_edits(
        self, name: Annotated[str | None, Field(description="Only this edit.")] = None
    ) -> Listed:
        """List the installed edits: parameters, routes, and how people ask for them."""
        with told(self._folder):
            known = get_registry().edits()
            if name is not None and name not in known:
                raise StepeditError(f"no edit {name!r}; there are {', '.join(known)}")
            chosen = known if name is None else {name: known[name]}
            return Listed(edits=[_kind(one, info.edit_class) for one, info in chosen.items()])

    def align(self, recording: Recording, text: Words = None, language: Language = None) -> Aligned:
        """Find when each word of a recording is said; without its words, they are recognised."""
        with told(self._folder), self._busy:
            data = align(self._folder.read(recording, text, language)).to_data()
            fields = ("text", "aligner", "words", "sentences")
            notes = list(data.get("notes", ()))
            return Aligned(**{name: data[name] for name in fields}, notes=notes)

    def interpret(
        self,
        requests: Requests,
        recording: Annotated[str | None, Field(description="What they are about.")] = None,
        text: Words = None,
        language: Language = None,
    ) -> Interpreted:
        """Read requests in words as a chain of edits; nothing is run.

        What no edit does is refused with the nearest thing; what can mean several things comes
        back as alternatives.
        """
        with told(self._folder):
            if recording is None:  # needs no turn: an edit in progress may take minutes
                return Interpreted.of(self._understood(requests, text)[0])
            with self._busy:
                about = self._folder.read(recording, text, language)
                return Interpreted.of(self._understood(requests, about)[0])

    def edit(
        self,
        recording: Recording,
        output: Annotated[str, Field(description="File to write, relative to the folder.")],
        requests: Annotated[
            list[str] | None,
            Field(max_length=MOST_REQUESTS, description="Sentences; or give chain."),
        ] = None,
        chain: Annotated[
            dict[str, Any] | None, Field(description="A chain as interpret returns it.")
        ] = None,
        text: Words = None,
        language: Language = None,
        overwrite: Annotated[bool, Field(description="Replace a file that exists.")] = False,
        seed: Annotated[int, Field(ge=0, lt=2**63)] = 0,
    ) -> Edited:
        """Edit a recording by a chain, or by requests in words, and write the result.

        A request that can mean several things is refused; `interpret` shows what there is to
        choose. All or nothing: a chain that fails or is cancelled writes no file.
        """
        with told(self._folder), self._busy:
            _hold_wanted()
            if (requests is None) == (chain is None):
                raise StepeditError("give either requests or chain")
            self._folder.target(output, overwrite=overwrite)
            speech = self._folder.read(recording, text, language)
            found = Interpretation(())
            if requests is not None:
                found, speech = self._understood(requests, speech)
            wanted = found.chain if chain is None else Chain.from_data(chain)
            if not len(wanted):
                raise StepeditError("the chain is empty: there is nothing to do")
            if named := [file for edit in wanted.unrolled() for file in edit.files()]:
                raise StepeditError(f"{named[0]!r}: edits read no files here; give a name")
            result = wanted(speech, self._engine, seed=seed)
            _hold_wanted()
            self._folder.write(output, result.utterance, overwrite=overwrite)
            steps = [
                StepDone(
                    edit=format_edit(step.edit),
                    route=step.route,
                    engine=step.engine,
                    seconds_after=round(step.utterance.seconds, 4),
                    details=dict(step.report().get("details", {})),
                )
                for step in result.steps
            ]
            explained = found.to_data()["explanation"]
            return Edited(
                output=output,
                seconds_before=round(speech.seconds, 4),
                seconds_after=round(result.utterance.seconds, 4),
                sample_rate=result.utterance.sample_rate,
                chain=wanted.to_data(),
                steps=steps,
                explanation=[Read(**one) for one in explained],
                notes=[*found.notes, *speech.notes, *result.notes],
            )

    def undo(self, output: Annotated[str, Field(description="A file that edit wrote.")]) -> Undone:
        """Take back the last edit that wrote a file: its earlier content, or no file."""
        with told(self._folder), self._busy:
            return Undone(output=output, restored=self._folder.undo(output))

    def measure(
        self,
        recording: Recording,
        reference: Annotated[
            str | None, Field(description="A recording to compare with, such as the source.")
        ] = None,
    ) -> Measured:
        """Measure loudness, pitch, tempo and voice quality, and the change from a reference."""
        from stepedit_core.dsp.acoustics import difference, measure
        from stepedit_core.dsp.loudness import loudness, true_peak

        with told(self._folder), self._busy:
            speech = self._folder.read(recording, None, None)
            change = None
            if reference is not None:
                source = self._folder.read(reference, None, None)
                change = difference(source, speech).to_data()
            level, peak = loudness(speech), true_peak(speech.samples, speech.sample_rate)
            values = asdict(measure(speech))
            return Measured(
                recording=recording,
                seconds=round(speech.seconds, 4),
                sample_rate=speech.sample_rate,
                loudness_lufs=None if level is None else round(level, 2),
                true_peak_dbtp=round(20 * math.log10(peak), 2) if peak > 0 else None,
                acoustics={name: round(v, 3) for name, v in values.items() if v is not None},
                change=change,
            )

    def _understood(
        self, requests: Sequence[str], about: Utterance | str | None
    ) -> tuple[Interpretation, Any]:
        """Return what requests are read as, words timed where a region needs it."""
        found = interpret(requests, about, interpreter=self._interpreter)
        try:
            if not found.alternatives:
                _ = found.chain
        except InterpretationError:
            if not isinstance(about, Utterance) or not any(one.region for one in found.readings):
                raise
            timed = align(about)
            speech = about.replace(transcript=timed.text, alignment=timed)
            if about.transcript:
                return replace(found, setting=Setting.of(speech)), speech
            return interpret(requests, speech, interpreter=self._interpreter), speech
        return found, about


def _kind(name: str, edit_class: type[Any]) -> EditKind:
    """Return an edit as data."""
    try:
        examples = [one.say for one in get_registry().phrases(edit_class).example]
    except StepeditError:
        examples = []
    routes = list(edit_class.routes())
    return EditKind(
        name=name,
        summary=(edit_class.__doc__ or name).split("\n")[0],
        routes=routes,
        parameters=edit_class.model_json_schema(),
        examples=examples,
    )
