"""The data stage: what goes into the cache, and what must not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stepedit_pairs import plugin as pairs_plugin
from stepedit_train.data import phones
from stepedit_train.data.cache import Cache
from stepedit_train.data.phones import recognise_phones, spread_phones
from stepedit_train.data.prosody import measure_prosody
from stepedit_train.data.select import CorpusSettings, select_items, split_of
from stepedit_train.data.stage import DataSettings, make_cache
from stepedit_train.data.validation_manifest import ValidationManifestSettings, write_manifest

from stepedit_core.errors import StepeditError
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.models.tokenizer.preprocess import limit_peak, preprocess
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import speech_like, tone
from tests.models.audio_cases import write_semantic_graph
from tests.models.tokenizer.test_linguistic_checkpoint import write_checkpoint
from tests.train.making import make_corpus


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry(disabled=())
    found.register(pairs_plugin, "pairs")
    set_registry(found)
    yield found
    set_registry(None)


def settings(folder: Path, corpus: Path, **changes: object) -> DataSettings:
    fields: dict[str, object] = {
        "out": folder / "cache",
        "corpora": [{"path": corpus, "phonemes_column": "symbols"}],
        "layers": ["audio", "prosody"],
        "block_size": 2,
        "dev_share": 0.0,
    }
    return DataSettings.model_validate(fields | changes)


def test_a_cache_holds_what_may_be_trained_on(registry: Registry, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", ["CC0", "CC0", "CC BY-NC 4.0", "", "MIT", "CC BY 4.0"])
    (corpus.parent / "4.wav").write_bytes(b"no audio")
    lines = list(make_cache(settings(tmp_path, corpus)))
    assert "left out 1: no licence is stated" in lines
    assert "left out 1: non-commercial licence (CC BY-NC 4.0)" in lines
    assert "train 2 recordings" in lines[-1] and "test 1 recording," in lines[-1]
    assert "4.wav" in (tmp_path / "cache" / "rejected.txt").read_text()

    cache = Cache(tmp_path / "cache", ("audio", "prosody"))
    assert sorted(item.speaker for item in cache.items) == ["s0", "s5"]
    first = next(i for i, item in enumerate(cache.items) if item.speaker == "s0")
    assert cache.items[first].phonemes == "wˈɜdz"
    utterance = speech_like(0.8, 24_000, seed=0)
    expected = preprocess(limit_peak(utterance.samples), 24_000)
    # The recording went through a 16-bit file and the cache: two roundings, and their gain.
    assert np.abs(cache.speech(first) - expected).max() < 2e-3
    assert np.abs(cache.audio(first) - utterance.samples).max() < 2 / 32_767
    frames = cache.read(first, "prosody", "prosody").shape[1]
    assert abs(frames - len(cache.speech(first)) / 160) <= 2
    assert Cache(tmp_path / "cache", splits=("test",)).items[0].speaker == "s1"


def test_a_cache_goes_on_where_it_stopped(registry: Registry, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", ["CC0"] * 5)
    whole = settings(tmp_path, corpus)
    list(make_cache(whole))
    blocks = tmp_path / "cache" / "blocks"
    before = {path.name: path.read_bytes() for path in blocks.iterdir()}
    (blocks / "part-000001.audio.safetensors").unlink()
    (blocks / "part-000002.prosody.safetensors").unlink()
    lines = list(make_cache(whole))
    assert lines[0].startswith("audio: 1 of 3") and lines[1].startswith("prosody: 1 of 3")
    assert {path.name: path.read_bytes() for path in blocks.iterdir()} == before
    with pytest.raises(StepeditError, match="made from other recordings"):
        list(make_cache(settings(tmp_path, corpus, seed=1)))


def test_the_corpus_keeps_its_test_speakers(tmp_path: Path) -> None:
    items = [CorpusItem(str(i), "x", speaker=f"s{i}", corpus="c") for i in range(300)]
    splits = [split_of(item, 0.1) for item in items]
    assert 15 <= splits.count("dev") <= 50 and splits.count("test") == 0
    assert splits == [split_of(item, 0.1) for item in items]
    assert split_of(CorpusItem("1", "x", speaker="s", split="test"), 0.5) == "test"


def test_validation_manifest(registry: Registry, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", ["CC0", "CC0", "CC BY-NC 4.0", "CC0", "MIT", "CC BY 4.0"])
    (corpus.parent / "5.wav").write_bytes(b"no audio")
    fields = settings(tmp_path, corpus, dev_share=0.99).model_dump()
    held = ValidationManifestSettings.model_validate({**fields, "manifests": tmp_path / "held"})
    said = list(write_manifest(held))
    assert len(said) == 2 and "5.wav" in said[0]
    text = (tmp_path / "held/manifest.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    own = {
        selected.item.speaker: selected.split
        for selected in select_items(held.corpora[0], corpus, 0.99)
    }
    speakers = {row["speaker"] for row in rows}
    assert (
        speakers
        == {s for s, split in own.items() if split == "dev" and s not in ("s2", "s5")}
        != set()
    )
    assert all(Path(row["path"]).is_file() and row["suggested_split"] == "dev" for row in rows)
    assert all(row["seconds"] == pytest.approx(0.8, abs=0.01) for row in rows)
    with pytest.raises(StepeditError, match="kept for validation"):
        list(write_manifest(held.model_copy(update={"dev_share": 0.0})))


def test_specific_reader_before_any_folder(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/a.wav").write_bytes(b"")
    (tmp_path / "metadata.csv").write_text("a|Dr. Who|Doctor Who\n", encoding="utf-8")
    (chosen,) = select_items(CorpusSettings(path=tmp_path), tmp_path, 0.0)
    assert chosen.item.transcript == "Doctor Who"


def test_an_absent_corpus_is_one_line(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match=r"absent\.csv: no such file"):
        list(make_cache(settings(tmp_path, tmp_path / "absent.csv")))
    with pytest.raises(StepeditError, match="no block with the layers"):
        Cache(tmp_path)


class FakeRecogniser:
    """Answers with fixed frames, as the recogniser would after its argmax."""

    decoder_tokens = ("a", "b", "<wb>", "<unk>", "<blank>")
    frame_token_ids = (4, 0, 0, 0, 4, 2, 2, 1, 4, 4, 1, 3)

    def __call__(self, speech: object, rate: int) -> FakeRecogniser:
        assert rate == 16_000
        return self


def test_spikes_are_phones_and_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "_recogniser", FakeRecogniser)
    spikes = recognise_phones(np.zeros(100, np.float32))
    assert spikes.tolist() == [[0, 2], [1, 7], [1, 10]]
    assert phones.phone_names()[:3] == ["sil", "a", "b"]


def test_phones_reach_half_way_and_not_into_silence() -> None:
    labels = spread_phones(np.array([[0, 2], [1, 7], [2, 30]], np.int32), 40)
    assert labels[:12].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert labels[12:26].tolist() == [0] * 14
    assert labels[26:35].tolist() == [3] * 9 and labels[35:].tolist() == [0] * 5
    assert spread_phones(np.zeros((0, 2), np.int32), 3).tolist() == [0, 0, 0]


def test_prosody_of_a_harmonic_sound() -> None:
    parts = [tone(150.0 * n, 1.0, 16_000).samples / n for n in range(1, 9)]
    samples = (np.sum(parts, axis=0) / 4).astype(np.float32)
    f0, level = measure_prosody(samples)
    middle = slice(20, 80)
    assert np.abs(f0[middle] - 150).max() < 3
    expected = 10 * np.log10(float(np.mean(samples**2)))
    assert np.abs(level[middle] - expected).max() < 0.5
    quiet, _ = measure_prosody(np.zeros(8000, np.float32))
    assert (quiet == 0).all()


def test_codes_of_one_tokenizer(registry: Registry, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", ["CC0"] * 3)
    folder = tmp_path / "Step-Audio-Tokenizer"
    folder.mkdir()
    write_checkpoint(folder)
    write_semantic_graph(folder / "speech_tokenizer_v1.onnx")
    with pytest.raises(StepeditError, match="needs a tokenizer"):
        list(make_cache(settings(tmp_path, corpus, layers=["audio", "codes"])))
    coded = settings(tmp_path, corpus, layers=["audio", "codes"], tokenizer=folder)
    list(make_cache(coded))
    cache = Cache(tmp_path / "cache", ("audio", "codes"))
    expected = AudioTokenizer.load(folder).encode([(cache.audio(0), 24_000)])[0]
    linguistic, semantic = (cache.read(0, "codes", name) for name in ("linguistic", "semantic"))
    assert linguistic.dtype == semantic.dtype == np.int16 and 3 * len(linguistic) == 2 * len(
        semantic
    )
    assert linguistic.tolist() == expected.linguistic[: len(linguistic)].tolist()
    assert semantic.tolist() == expected.semantic[: len(semantic)].tolist()
    assert cache.read(0, "codes", "start")[0] == pytest.approx(expected.start)
    (folder / "linguistic_tokenizer.npy").write_bytes(b"other")
    with pytest.raises(StepeditError, match="codes of another tokenizer"):
        list(make_cache(coded))


def test_voices_are_layers_too(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepedit_train.data import voices

    monkeypatch.setattr(voices, "embed_voices", lambda heard: np.ones((len(heard), 256)))
    corpus = make_corpus(tmp_path / "c", ["CC0"] * 3)
    list(make_cache(settings(tmp_path, corpus, layers=["audio", "speaker"])))
    vector = Cache(tmp_path / "cache", ("speaker",)).read(0, "speaker", "speaker")
    assert vector.shape == (256,) and vector.dtype == np.float16
