"""Which language speech is in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stepedit_emotion import Emotion

from stepedit_core.chain.validation import choose_route
from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.llm_route.languages import (
    language_of,
    language_of_text,
    language_tag,
    untaught_language,
    untaught_languages,
)
from stepedit_core.models.checkpoint.naming import languages_of, name_folder, named
from stepedit_core.plan import Plan
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Good morning, 2 o'clock.", None),
        ("今天下午三点 OK", "zh"),
        ("東京でたべる", "ja"),
        ("안녕하세요", "ko"),
        ("Доброе утро", "ru"),
        ("The word 你好 means hello", None),
        ("", None),
    ],
)
def test_scripts(text: str, language: str | None) -> None:
    assert language_of_text(text) == language


def test_what_an_utterance_says_counts_more() -> None:
    speech = Utterance(np.zeros(1600, dtype=np.float32), 16_000, "你好", "yue-HK")
    assert language_of(speech) == "yue"
    assert language_of(speech.replace(language=None)) == "zh"


def test_folders_say_what_they_were_taught(tmp_path: Path) -> None:
    assert languages_of(tmp_path) is None
    name_folder(tmp_path, "mine", "embedded", ("en", "zh"))
    assert (named(tmp_path), languages_of(tmp_path)) == ("mine", ("en", "zh"))
    (tmp_path / "engine.json").write_text(json.dumps({"languages": ["en"]}))
    assert named(tmp_path) == tmp_path.name
    (tmp_path / "engine.json").write_text(json.dumps({"languages": "en"}))
    with pytest.raises(CheckpointError, match="list of codes"):
        languages_of(tmp_path)


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("en_US.UTF-8", "en-US"),
        ("zh-Hans-CN", "zh-Hans-CN"),
        ("cmn_hans_cn", "zh-hans-cn"),
        ("Mandarin", "zh"),
        ("yue", "yue"),
        ("tlh", "tlh"),
    ],
)
def test_tags(said: str, tag: str) -> None:
    assert language_tag(said) == tag


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("xx", "such as en or zh"),
        ("englisch", "did you mean 'english'"),
        ("", "such as en"),
        ("en-", "such as en"),
        ("en us", "such as en"),
        ("\x1b[31m", "such as en"),
        ("9" * 9000, "such as en"),
    ],
)
def test_tags_of_no_language(said: str, hint: str) -> None:
    with pytest.raises(StepeditError, match=hint):
        language_tag(said)


class Anglophone(FakeEngine):
    """Was taught English; labels of emotions are its decoder's."""

    languages = ("en",)

    def answers_with_own_codes(self, plan: Plan) -> bool:
        return plan.label == "emotion:happy"


@pytest.fixture
def mandarin() -> Utterance:
    return speech_like(2.0).replace(transcript="你好，今天天气很好。", language="zh")


def test_codes_of_the_source_need_no_language(mandarin: Utterance) -> None:
    engine = Anglophone()
    own, voice = Emotion(to="happy").plan(mandarin), Plan(keeps_codes=True)
    assert untaught_languages(engine, mandarin, [own, voice]) == ()
    (line,) = untaught_languages(engine, mandarin, [Emotion(to="fear").plan(mandarin), own])
    assert "taught English (en) and not Mandarin (zh)" in line
    assert "not Mandarin" in (untaught_language(engine, mandarin) or "")


def test_auto_takes_the_model_where_it_says_nothing_itself(mandarin: Utterance) -> None:
    engine = Anglophone()
    assert choose_route(Emotion(to="happy"), engine, utterance=mandarin) == "llm"
    assert choose_route(Emotion(to="fear"), engine, utterance=mandarin) == "dsp"
    with pytest.raises(StepeditError, match="not Mandarin"):
        choose_route(Emotion(to="humour"), engine, utterance=mandarin)
