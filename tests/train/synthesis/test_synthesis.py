"""Sentences and the stage that has them spoken."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from stepedit_train.data.cache import CachedItem, block_path, write_block
from stepedit_train.data.pieces import PiecesSettings
from stepedit_train.data.select import split_of
from stepedit_train.data.stage import DataSettings
from stepedit_train.settings import Settings, load_settings
from stepedit_train.synthesis import stage
from stepedit_train.synthesis.sentences import chains, grammatical, sentences_of, various
from stepedit_train.synthesis.stage import SynthesisSettings, synthesise

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem

TEXTS = [
    "The cat sat on the mat. It was the year 1984, they say.",
    "The dog sat on the cat! Then the dog ran far away from the old mat.",
    "The cat sat on the mat.",
]


def test_sentences() -> None:
    assert list(sentences_of(TEXTS)) == [
        "The cat sat on the mat.",
        "The dog sat on the cat!",
        "Then the dog ran far away from the old mat.",
    ]
    assert not list(sentences_of(["word " * 30, "one two"]))


def test_chains_know_the_words_of_the_sentences_alone() -> None:
    known = {word.strip(".!").lower() for text in TEXTS for word in text.split()}
    made = list(islice(chains(sentences_of(TEXTS), np.random.default_rng(0)), 30))
    assert {word.strip(".!").lower() for text in made for word in text.split()} <= known
    assert len(set(made)) > 5


def test_the_grammar_leaves_no_hole_and_is_various() -> None:
    made = list(islice(grammatical(np.random.default_rng(0)), 300))
    assert not any("<" in text or "  " in text for text in made)
    assert len(set(made)) > 280
    assert all(text[0].isupper() and text[-1] in ".?!" for text in made)
    assert not any(" a apple" in text for text in made)


def test_various_sentences_differ_and_follow_the_seed() -> None:
    first = list(islice(various(TEXTS, np.random.default_rng(3)), 60))
    assert len({text.lower() for text in first}) == 60
    assert first == list(islice(various(TEXTS, np.random.default_rng(3)), 60))
    assert "The cat sat on the mat." in first


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    items = [
        CachedItem(f"c/{n}", "c", "s", language, split, text, None, "CC0", 16_000, 0.0, 1.0, 1.0)
        for n, (language, split, text) in enumerate(
            [
                ("en", "train", TEXTS[1]),
                ("en", "test", "Nobody may ever train on these secret words."),
                ("zh", "train", "大家对他的评价很高。"),
            ]
        )
    ]
    tensors = {
        f"{n}.{name}": np.zeros(9, np.int16) for n in range(3) for name in ("audio", "speech")
    }
    write_block(block_path(tmp_path / "cache", 0, "audio"), tensors, items)
    return tmp_path / "cache"


def settings(cache: Path, **changes: object) -> SynthesisSettings:
    fields: dict[str, object] = {
        "cache": cache,
        "out": cache.parent / "spoken",
        "test_sentences": 5,
        "dev_share": 0.2,
        "voices": [
            {"system": "hibari", "voice": "heart", "sentences": 70},
            {"system": "flite", "voice": "slt", "sentences": 20},
        ],
    }
    return SynthesisSettings.model_validate(fields | changes)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []

    def speak(
        system: str, voice: str, text: str, *, speed: float, shift: float, seed: int
    ) -> tuple[np.ndarray, int]:
        heard.append(text)
        rng = np.random.default_rng(seed)
        return rng.normal(0, 0.1, round(100 * len(text) / speed)).astype(np.float32), 1600

    monkeypatch.setattr(stage, "speak", speak)
    return heard


def test_splits_of_a_corpus(cache: Path, spoken: list[str]) -> None:
    lines = list(synthesise(settings(cache)))
    out = cache.parent / "spoken"
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert f"{len(rows)} of 100 sentences" in lines[-1]
    texts = {
        split: {row["text"] for row in rows if row["split"] == split}
        for split in ("train", "dev", "test")
    }
    assert len(texts["test"]) == 5 and texts["dev"] and texts["train"]
    assert not texts["test"] & (texts["train"] | texts["dev"]) and not texts["train"] & texts["dev"]
    assert {row["speaker"] for row in rows if row["split"] == "test"} == {
        "hibari_heart",
        "flite_slt",
    }
    assert all("secret" not in text and text.isascii() for text in spoken)
    assert all((out / row["path"]).is_file() and 1.2 <= row["seconds"] <= 6 for row in rows)
    assert {row["licence"] for row in rows if row["speaker"] == "hibari_heart"} == {
        "Apache-2.0 (hibari-tts)"
    }
    # Readers of the data stage keep these splits.
    assert split_of(CorpusItem("1", "x", speaker="s", split="dev"), 0.0) == "dev"


def test_synthesis_goes_on_where_it_stopped(cache: Path, spoken: list[str]) -> None:
    list(synthesise(settings(cache)))
    out = cache.parent / "spoken"
    before, count = (out / "manifest.jsonl").read_bytes(), len(spoken)
    (out / "parts" / "000064.jsonl").unlink()
    list(synthesise(settings(cache)))
    assert (out / "manifest.jsonl").read_bytes() == before and len(spoken) - count == 36
    with pytest.raises(StepeditError, match="other settings"):
        list(synthesise(settings(cache, seed=1)))


CONFIGS = Path(__file__).parents[3] / "training" / "configs" / "embedded"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SynthesisSettings, "synthesise"),
        (DataSettings, "data-synthesised"),
        (PiecesSettings, "pieces"),
        (PiecesSettings, "pieces-synthesised"),
    ],
)
def test_the_configs_can_be_read(kind: type[Settings], name: str) -> None:
    load_settings(kind, CONFIGS / f"{name}.toml")


def test_made_speakers(cache: Path, spoken: list[str]) -> None:
    made = [{"system": "hibari", "voice": "heart", "sentences": 20, "speakers": 4}]
    list(synthesise(settings(cache, voices=made, test_sentences=0)))
    out = cache.parent / "spoken"
    rows = json.loads((out / "plan.json").read_text())
    shifts = {row["speaker"]: row["shift"] for row in rows}
    assert sorted(shifts) == [f"hibari_heart_{turn:02d}" for turn in range(4)]
    ordered = [shifts[name] for name in sorted(shifts)]
    assert ordered == sorted(ordered) and ordered[0] < 0.9 and ordered[-1] > 1.1
    assert all(row["path"].startswith(f"audio/{row['speaker']}_") for row in rows)


def test_speeds_and_shifts_are_above_zero(cache: Path) -> None:
    voice = {"system": "hibari", "voice": "heart", "sentences": 1, "shift": [0.0, 1.2]}
    with pytest.raises(ValueError, match="greater than 0"):
        settings(cache, voices=[voice])
    with pytest.raises(ValueError, match=r"within 0\.25 and 4"):
        settings(cache, voices=[{**voice, "shift": [0.001, 1.2]}])
    with pytest.raises(ValueError, match="greater than 0"):
        settings(cache, speed=[-1.0, 1.2])


def test_old_corpus_goes_on(cache: Path, spoken: list[str]) -> None:
    list(synthesise(settings(cache)))
    plan = json.loads((cache.parent / "spoken" / "plan.json").read_text())
    assert all("shift" not in row for row in plan)


def test_sentences_of_a_file_are_said_in_their_order(tmp_path: Path, spoken: list[str]) -> None:
    said = [f"This is the sentence number {word}." for word in ("one", "two", "three", "four")]
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join([said[0], "", *said, said[1]]) + "\n")
    voices = [{"system": "hibari", "voice": "heart", "sentences": 3}]
    own = settings(tmp_path / "none", sentences=path, test_sentences=1, voices=voices)
    list(synthesise(own))
    assert spoken == said


def test_something_is_to_be_said(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(StepeditError, match=r"empty\.txt: no sentence in it"):
        list(synthesise(settings(tmp_path, sentences=tmp_path / "empty.txt")))
    with pytest.raises(StepeditError, match="set cache or sentences"):
        list(synthesise(settings(tmp_path).model_copy(update={"cache": None})))
