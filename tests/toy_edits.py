"""Small real edits for tests of core and of the command line; also loaded with ``-p``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click
import numpy as np
from pydantic import Field

from stepedit_core.chain.notation import AnyEdit
from stepedit_core.config import EngineConfig
from stepedit_core.edit import Edit, Rendered, Route
from stepedit_core.engine import SpeechEngine
from stepedit_core.hookspecs import hookimpl
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Span, Utterance


class Gain(Edit):
    """Change the level by signal processing."""

    db: float = Field(default=-6.0, ge=-40, le=12)
    """Change in dB."""

    def changes_level(self) -> bool:
        return True

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        samples = utterance.samples * np.float32(10 ** (self.db / 20))
        return Rendered(utterance.replace(samples=samples), {"db": self.db})


class Recite(Edit):
    """Say other words, by the model alone."""

    words: str
    """What to say."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Instead of {utterance.transcript} say {self.words}.\n")

    def transcript_after(self, utterance: Utterance) -> str | None:
        return self.words

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(length_ratio=2.0)

    def needs_transcript(self, route: Route) -> bool:
        return route == "llm"


class Hiss(Edit):
    """Add noise that the generator draws; both routes."""

    amount: Literal["little", "much"] = "little"
    """How loud the noise is."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Add {self.amount} hiss.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        scale = 0.01 if self.amount == "little" else 0.1
        noise = rng.standard_normal(len(utterance.samples)).astype(np.float32)
        return Rendered(utterance.replace(samples=utterance.samples + scale * noise))


class Burst(Edit):
    """Fail while running, as a broken plugin does."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        raise RuntimeError("it burst")


class Vanish(Edit):
    """Leave nothing of the utterance."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=np.zeros(0, np.float32)))


class Within(Edit):
    """Carry out an edit inside spans, by the model alone."""

    inner: AnyEdit
    """What to do."""
    spans: tuple[Span, ...] = ()
    """Where, in seconds."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return self.inner.prompt(utterance)

    def plan(self, utterance: Utterance) -> Plan:
        problem = self.problem(utterance)
        if problem or not self.spans:
            return super().plan(utterance)
        return Plan.inside(self.inner.plan, self.spans, utterance, name=self.name)

    def problem(self, utterance: Utterance) -> str | None:
        late = [span for span in self.spans if span.end > utterance.seconds]
        return f"span {tuple(late[0])} ends after the utterance" if late else None


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    return [Gain, Recite, Hiss, Burst, Vanish, Within]


@hookimpl
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    from stepedit_core.testing import FakeEngine

    if config.name_or_path == "fake":
        return FakeEngine()
    if config.name_or_path == "fake-failing":
        return FakeEngine("fake-failing", fail_after=1)
    return None


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    @cli.command("toy-hello")
    def hello() -> None:
        """Greet."""
        click.echo("hello from a plugin")
