"""Other settings of an edit that are tried where its limits are not kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from stepedit_core import (
    Accept,
    Chain,
    Edit,
    Plan,
    Rendered,
    Route,
    Score,
    Scorer,
    Utterance,
    hookimpl,
)
from stepedit_core.engine import DecodeRequest
from stepedit_core.errors import EngineError, InvalidChainError
from stepedit_core.labels.edit import ScaledLabelledEdit
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine, speech_like


class Tone(ScaledLabelledEdit):
    """Make the speech bright, more or less so."""

    instruction, removal = "Make this {info}: {text}\n", "Make this plain: {text}\n"
    scaled = frozenset({"bright"})

    to: Literal["bright", "dull", "remove"]
    """The tone."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=np.float32(self.amount) * utterance.samples))


class Judging:
    """Calls a tone reached where the level is within bounds."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    @hookimpl
    def stepedit_edits(self) -> list[type[Edit]]:
        return [Tone]

    @hookimpl
    def stepedit_scorer(self, edit: type[Edit]) -> Scorer | None:
        outer = self

        class Toy(Scorer):
            def score(self, case: Any, prepared: Any, output: Any, measures: Any) -> Score:
                ratio = np.ptp(output.samples) / np.ptp(prepared.source.samples)
                return Score(bool(outer.low <= ratio <= outer.high), {"ratio": float(ratio)})

        return Toy()


@pytest.mark.parametrize(
    ("low", "high", "limits", "taken", "tried"),
    [
        (1.2, 9.0, {}, 1.25, [1.0]),
        (1.4, 9.0, {}, 1.5, [1.0, 1.25]),
        (1.4, 9.0, {"tries": 2}, None, [1.0, 1.25]),
        (1.4, 9.0, {"gentler": False}, None, [1.0]),
        (0.0, 9.0, {"level": 1.0}, 1.0, []),
        (0.9, 1.1, {}, 1.0, []),
        # Stronger clips, and there is nothing between it and what is too weak.
        (1.2, 9.0, {"clipping": 0.0}, None, [1.0, 1.25]),
    ],
)
@pytest.mark.parametrize("route", ["llm", "dsp"])
def test_strengths_of_a_label(
    toys: Registry,
    low: float,
    high: float,
    limits: dict[str, Any],
    taken: float | None,
    tried: list[float],
    route: Route,
) -> None:
    class Scaling(FakeEngine):
        """Carries a tone out by the source's own codes."""

        def answers_with_own_codes(self, plan: Plan) -> bool:
            return plan.label == "tone"

        def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
            return [
                one.reference.replace(
                    samples=np.float32(one.source_map.strength if one.source_map else 1.0)
                    * one.reference.samples
                )
                for one in requests
            ]

    if route == "llm" and "clipping" in limits:
        pytest.skip("what an engine says is brought below full scale")
    toys.register(Judging(low, high), "judging")
    speech = speech_like(1.2).replace(transcript="a b")
    peak = 0.9 if "clipping" in limits else 0.3
    loud = np.float32(peak / np.abs(speech.samples).max()) * speech.samples
    speech = speech.replace(samples=loud)
    accept = Accept(words=None, changed=False, otherwise="keep", **limits)
    step = Chain([Tone(to="bright")])(speech, Scaling(), route=route, accept=accept).steps[0]
    assert [one.get("edit", {}).get("strength", 1.0) for one in step.failed_tries] == tried
    assert step.accepted is (taken is not None) and step.edit == Tone(to="bright")
    setting = step.details.get("setting", {}).get("strength", 1.0)
    assert setting == (taken or 1.0) or not step.accepted


def test_a_strength_is_asked_of_those_who_know_it(speech: Utterance) -> None:
    with pytest.raises(ValidationError, match="strength: dull knows no more or less"):
        Tone(to="dull", strength=0.5)
    spoken = speech_like(1.2).replace(transcript="a b")
    with pytest.raises(InvalidChainError, match="knows one strength of tone alone"):
        Chain([Tone(to="bright", strength=0.5)])(spoken, FakeEngine(), route="llm")
    with pytest.raises(EngineError, match="knows one strength of tone alone"):
        apply_by_llm([Tone(to="bright", strength=0.5)], [spoken], FakeEngine(), [0])
    assert "strength" not in Tone(to="bright").to_data()
