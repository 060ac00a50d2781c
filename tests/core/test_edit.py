from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from stepedit_core.chain.notation import edit_from_data
from stepedit_core.edit import Edit, snake_case
from stepedit_core.errors import StepeditError, UnknownEditError, explain_validation
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Gain, Hiss, Recite, Within


@pytest.mark.parametrize(
    ("camel", "snake"),
    [("Speed", "speed"), ("TrimSilence", "trim_silence"), ("HTTPThing", "http_thing")],
)
def test_snake_case(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


def test_name_can_be_set_and_is_not_inherited() -> None:
    class Louder(Edit):
        name = "volume_up"

    class Loudest(Louder):
        pass

    assert (Louder.name, Loudest.name) == ("volume_up", "loudest")


def test_a_field_may_not_be_called_edit() -> None:
    with pytest.raises(TypeError, match=r"may not be called 'edit'"):

        class Wrong(Edit):
            edit: int = Field(default=1)


def test_edits_are_frozen_values() -> None:
    assert Gain(db=-3) == Gain(db=-3)
    assert hash(Gain(db=-3)) == hash(Gain(db=-3))
    with pytest.raises(ValidationError):
        Gain(db=-3).db = 2  # type: ignore[misc]


def test_routes_of_a_class() -> None:
    assert (Gain.routes(), Recite.routes(), Hiss.routes()) == (("dsp",), ("llm",), ("llm", "dsp"))
    assert "defines no prompt()" in str(Gain().route_problem("llm"))
    assert Hiss().route_problem("llm") is None


def test_defaults_change_neither_words_nor_length(speech: object) -> None:
    from stepedit_core.utterance import Utterance

    assert isinstance(speech, Utterance)
    edit = Gain()
    assert edit.transcript_after(speech) == speech.transcript
    assert edit.plan(speech).length_ratio == 1.0
    assert edit.plan(speech).spans is None
    assert edit.problem(speech) is None
    with pytest.raises(NotImplementedError):
        Gain().prompt(speech)
    with pytest.raises(NotImplementedError):
        Recite(words="a").render(speech, None)  # type: ignore[arg-type]


def test_json_form_has_the_name_and_the_parameters(toys: Registry) -> None:
    edit = Within(inner=Gain(db=-3), spans=((0.1, 0.4),))  # type: ignore[arg-type]
    data = edit.to_data()
    assert data["edit"] == "within"
    assert data["inner"] == {"edit": "gain", "db": -3.0}
    assert edit_from_data(data) == edit


def test_an_unknown_parameter_gets_a_suggestion(toys: Registry) -> None:
    with pytest.raises(StepeditError, match=r"gain: no parameter 'dbs'; did you mean 'db'"):
        edit_from_data({"edit": "gain", "dbs": 1})
    with pytest.raises(StepeditError, match=r"burst: no parameter 'xyz'; it takes none"):
        edit_from_data({"edit": "burst", "xyz": 1})


def test_a_wrong_value_is_explained_in_one_line(toys: Registry) -> None:
    with pytest.raises(StepeditError) as caught:
        edit_from_data({"edit": "gain", "db": 99})
    assert str(caught.value) == "gain: db: Input should be less than or equal to 12, got 99"


def test_a_wrong_inner_edit_is_explained(toys: Registry) -> None:
    with pytest.raises(StepeditError, match=r"inner: .*unknown edit 'gian'; did you mean 'gain'"):
        edit_from_data({"edit": "within", "inner": {"edit": "gian"}})


def test_data_without_a_name_is_refused(toys: Registry) -> None:
    with pytest.raises(UnknownEditError, match=r"under 'edit'"):
        edit_from_data({"db": 1})


def test_lists_in_a_location_are_joined() -> None:
    with pytest.raises(ValidationError) as caught:
        Within(inner=Gain(), spans=((0.1, "x"),))  # type: ignore[arg-type]
    assert "spans.0.1" in explain_validation(caught.value)


def test_summary_is_the_first_line() -> None:
    assert Gain.summary() == "Change the level by signal processing."


def test_schema_describes_every_parameter() -> None:
    schema = Within.model_json_schema()
    assert schema["properties"]["inner"]["description"] == "What to do."
    assert schema["required"] == ["inner"]
    assert schema["additionalProperties"] is False
