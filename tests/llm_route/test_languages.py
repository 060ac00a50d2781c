"""Which language speech is in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.llm_route.languages import language_of, language_of_text, language_tag
from stepedit_core.models.checkpoint.naming import languages_of, name_folder, named
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
