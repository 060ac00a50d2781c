from __future__ import annotations

import pytest

from stepedit_core.prompt import SYSTEM_EDIT, Prompt, Slot


def test_edit_prompt() -> None:
    prompt = Prompt.edit("Make it happy.\n")
    assert prompt.system == (SYSTEM_EDIT,)
    assert prompt.user == ("Make it happy.\n\n", Slot.AUDIO, "\n")
    assert not prompt.is_clone


def test_clone_prompt() -> None:
    prompt = Prompt.clone("old words", "new words")
    assert prompt.is_clone
    assert Slot.SPEAKER in prompt.system
    assert prompt.user == ("new words",)
    assert "old words" in prompt.text
    assert "{" not in prompt.text


def test_braces_in_the_words_stay_words() -> None:
    prompt = Prompt.clone("say {speaker} and {prompt_wav_tokens}", "{prompt_text}")
    assert "say {speaker} and {prompt_wav_tokens}" in prompt.text
    assert prompt.user == ("{prompt_text}",)


@pytest.mark.parametrize("user", [("no slot",), (Slot.AUDIO, Slot.AUDIO)])
def test_exactly_one_audio_slot(user: tuple[str | Slot, ...]) -> None:
    with pytest.raises(ValueError, match=r"exactly one audio slot"):
        Prompt(system=(), user=user)
