"""The mel-data stage: what it encodes, what it takes from the cache, and what it leaves unread."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from stepedit_train.data.cache import Cache, CachedItem, block_path, write_block
from stepedit_train.data.codes import FILE, CodeMaker, read_codes
from stepedit_train.decoder import data, sources, store
from stepedit_train.decoder.data import MelDataSettings, grid_mel, make_mel_data
from stepedit_train.decoder.sources import Sound, melody_recipe
from stepedit_train.decoder.store import SPEAKERS, MelStore, read_target_maps

from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.models.decoder.flow import token_rows
from stepedit_core.models.speaker.campplus import load_speaker
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.models.tokenizer.preprocess import limit_peak
from stepedit_core.plan import Plan
from stepedit_core.storage.pair_rows import read_rows, row_codes, row_utterance
from stepedit_core.utterance import Utterance
from tests.models.audio_cases import speech_like, write_semantic_graph, write_speaker_graph
from tests.models.tokenizer.test_linguistic_checkpoint import write_checkpoint
from tests.toy_edits import Gain
from tests.train.making import make_pairs

SPEAKERS_OF_BLOCKS = (("a", "b", "a"), ("b", "a"))


def embed(heard: list[Sound]) -> np.ndarray[Any, Any]:
    """Stand for the speaker encoder: numbers that only this recording has."""
    return np.stack(
        [np.array([len(samples), rate, samples.std()], np.float32) for samples, rate in heard]
    )


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MelDataSettings:
    """Settings of a run on five recordings and on pairs with and without codes."""
    monkeypatch.setattr(data, "embed_voices", embed)
    monkeypatch.setattr(data, "BATCH", 2)
    monkeypatch.setattr(sources, "CACHED", 3)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    write_checkpoint(tokenizer)
    write_semantic_graph(tokenizer / "speech_tokenizer_v1.onnx")
    for number, speakers in enumerate(SPEAKERS_OF_BLOCKS):
        write_cached(tmp_path / "cache", number, speakers)
    for name, with_codes in (("coded", True), ("plain", False)):
        make_pairs(tmp_path / name, [Gain(db=n) for n in range(5)], with_codes=with_codes)
        (shard,) = (tmp_path / name / "shards").iterdir()
        pq.write_table(pq.read_table(shard), shard, row_group_size=2)
    return MelDataSettings(
        cache=tmp_path / "cache",
        tokenizer=tokenizer,
        out=tmp_path / "store",
        pairs=(tmp_path / "coded", tmp_path / "plain"),
        max_pairs=3,
        voices=2,
    )


def write_cached(folder: Path, number: int, speakers: tuple[str, ...]) -> None:
    items, tensors = [], {}
    for row, speaker in enumerate(speakers):
        seed = 10 * number + row
        lead = np.zeros(1001 + 777 * seed, np.float32)
        sound = np.concatenate([lead, speech_like(0.7 + 0.1 * row, 24_000, seed)])
        tensors[f"{row}.audio"] = np.round(sound * 32_767).astype(np.int16)
        split = "test" if (number, row) == (0, 1) else "train"
        facts = ("en", split, None, None, "CC0", 24_000, 0.0, 1.0, 1.0)
        items.append(CachedItem(f"{number}/{row}", "made", speaker, *facts))
    write_block(block_path(folder, number, "audio"), tensors, items)


def write_codes(settings: MelDataSettings, *blocks: int) -> None:
    """Make the codes layer of blocks of the cache."""
    maker = CodeMaker(settings.cache, settings.tokenizer)
    cache = Cache(settings.cache, ("audio",), ("train", "dev", "test"))
    for block in blocks:
        part = [i for i, item in enumerate(cache.items) if item.id.startswith(f"{block}/")]
        layer = maker.encode([(cache.audio(i), 24_000) for i in part])
        write_block(block_path(settings.cache, block, "codes"), layer)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def made_anew(settings: MelDataSettings) -> dict[str, bytes]:
    shutil.rmtree(settings.out, ignore_errors=True)
    list(make_mel_data(settings))
    return files(settings.out)


class Counted:
    """Counts the recordings that are encoded and the sounds that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded = self.cached = self.decoded = 0
        encode, audio, read = AudioTokenizer.encode, Cache.audio, sources.row_utterance

        def encodes(tokenizer: AudioTokenizer, heard: list[Sound]) -> object:
            self.encoded += len(heard)
            return encode(tokenizer, heard)

        def hears(cache: Cache, index: int) -> object:
            self.cached += 1
            return audio(cache, index)

        def reads(row: Mapping[str, Any], role: str) -> object:
            self.decoded += 1
            return read(row, role)

        monkeypatch.setattr(AudioTokenizer, "encode", encodes)
        monkeypatch.setattr(Cache, "audio", hears)
        monkeypatch.setattr(sources, "row_utterance", reads)


def test_store_content(chosen: MelDataSettings) -> None:
    lines = list(make_mel_data(chosen))
    assert lines[-1] == "5 speakers" and len(lines) == 5
    store, cache = MelStore(chosen.out), Cache(chosen.cache, ("audio",), ("train", "dev"))
    assert len(store.items) == 4 + 6 + 6
    tokenizer = AudioTokenizer.load(chosen.tokenizer, threads=1)
    for index, item in enumerate(cache.items):
        sound = (cache.audio(index), 24_000)
        (codes,) = tokenizer.encode([sound])
        place = next(n for n, one in enumerate(store.items) if one.id == item.id)
        assert store.rows(place).tolist() == token_rows(codes.interleave()).tolist()
        mel = grid_mel(*sound, codes).numpy().astype(np.float16)
        assert np.array_equal(store.mel(place), mel.astype(np.float32))
    # The rows of test speakers and those beyond max_pairs are left out.
    assert [one.id for one in store.items if one.family == "plain"][::2] == [
        one.id for one in store.items if one.family == "coded"
    ][::2]
    assert {one.split for one in store.items} == {"train"}
    # The first recordings of each speaker, in order.
    of_a = [index for index, item in enumerate(cache.items) if item.speaker == "a"][:2]
    expected = embed([(cache.audio(index), 24_000) for index in of_a])
    assert np.array_equal(store.speakers("a"), expected)


class _Cleaned(Gain):
    """An edit that shows the decoder something else than the recording."""

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(uniform_tempo=True, as_reference=_shown)


def _shown(utterance: Utterance) -> Utterance:
    return utterance.replace(samples=utterance.samples[::-1].copy())


@pytest.mark.parametrize("shows", [True, False])
def test_sources_as_the_decoder_is_shown_them(
    shows: bool, chosen: MelDataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = _Cleaned if shows else Gain
    monkeypatch.setattr(sources, "row_edit", lambda row: kind())
    monkeypatch.setattr(store, "row_edit", lambda row: kind().model_copy())
    make_pairs(tmp_path / "denoise_made", [Gain(db=1), Gain(db=2)], with_codes=True)
    only = {"cache": None, "pairs": (tmp_path / "denoise_made",), "shown": True}
    list(make_mel_data(chosen.model_copy(update=only)))
    made = MelStore(chosen.out)
    rows = [row for row in read_rows(tmp_path / "denoise_made", None) if row["split"] != "test"]
    roles = ["source", "target"] * len(rows) + ["plain"] * len(rows)
    assert rows and [one.role for one in made.items] == roles
    tokenizer = AudioTokenizer.load(chosen.tokenizer, threads=1)
    maps = read_target_maps(chosen.out)
    for at, row in enumerate(rows):
        source, target, plain = 2 * at, 2 * at + 1, 2 * len(rows) + at
        said = row_utterance(row, "source")
        assert said is not None
        seen = _shown(said) if shows else said
        (codes,) = tokenizer.encode([(seen.samples, seen.sample_rate)])
        if not shows:  # the pair's own codes are taken
            given = row_codes(row, "source")
            assert given is not None
            codes = given
        assert made.items[source].start == codes.start
        assert made.rows(source).tolist() == token_rows(codes.interleave()).tolist()
        mel = grid_mel(np.array(seen.samples), seen.sample_rate, codes).numpy().astype(np.float16)
        assert np.array_equal(made.mel(source), mel.astype(np.float32))
        # Recordings are the clean ones, which are the targets of these pairs.
        assert np.array_equal(made.mel(plain), made.mel(target))
        if shows:
            late = (row["target_start"] - codes.start) / GROUP_SECONDS
            assert maps["denoise_made", row["id"]].offset == pytest.approx(late)


def test_speaker_encoder_choice(chosen: MelDataSettings, tmp_path: Path) -> None:
    write_speaker_graph(tmp_path / "campplus.onnx")
    list(make_mel_data(chosen.model_copy(update={"speaker": tmp_path})))
    cache = Cache(chosen.cache, ("audio",), ("train", "dev"))
    first = next(index for index, item in enumerate(cache.items) if item.speaker == "a")
    encoder = load_speaker(tmp_path)
    vector = encoder.embed(limit_peak(cache.audio(first)), 24_000)[0].numpy()
    expected = vector / np.linalg.norm(vector)
    np.testing.assert_allclose(MelStore(chosen.out).speakers("a")[0], expected, atol=1e-6)


def test_codes_of_the_cache_give_the_same_bytes(
    chosen: MelDataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made_anew(chosen)
    write_codes(chosen, 1)
    count = Counted(monkeypatch)
    assert made_anew(chosen) == before
    assert count.encoded == 2 + 6  # of the block without the layer, and of the pairs without codes
    write_codes(chosen, 0)
    count.encoded = 0
    assert made_anew(chosen) == before
    assert count.encoded == 6


def test_codes_begin_at_the_very_sample(chosen: MelDataSettings) -> None:
    write_codes(chosen, 0, 1)
    cache = Cache(chosen.cache, ("audio", "codes"))
    tokenizer = AudioTokenizer.load(chosen.tokenizer, threads=1)
    for index in range(len(cache)):
        (codes,) = tokenizer.encode([(cache.audio(index), 24_000)])
        assert read_codes(cache, index).start == codes.start
        # As stored it would not do: at 24 kHz these beginnings lie between two samples.
        assert float(cache.read(index, "codes", "start")[0]) != codes.start


def test_codes_of_another_tokenizer_are_not_taken(chosen: MelDataSettings) -> None:
    before = made_anew(chosen)
    write_codes(chosen, 0, 1)
    (chosen.cache / FILE).write_text('{"tokenizer": "another"}')
    shutil.rmtree(chosen.out)
    assert "another tokenizer" in next(make_mel_data(chosen))
    assert made_anew(chosen) == before


def test_finished_blocks_are_not_read_again(
    chosen: MelDataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made_anew(chosen)
    (chosen.out / SPEAKERS).unlink()
    count = Counted(monkeypatch)
    assert list(make_mel_data(chosen)) == ["5 speakers"]
    assert files(chosen.out) == before
    # Of the cache's speakers a has three recordings and b one, of which two at most are taken; the
    # pairs' three speakers have a source in either run.
    assert (count.encoded, count.cached, count.decoded) == (0, 3, 6)
    next((chosen.out / "blocks").glob("plain-*")).unlink()
    list(make_mel_data(chosen))
    assert files(chosen.out) == before
    assert (count.encoded, count.cached, count.decoded) == (6, 6, 6 + 6 + 6)


def test_pitch_augmentation(chosen: MelDataSettings) -> None:
    augmented = chosen.model_copy(update={"pitch_augmentation": 1.0, "pairs": ()})
    first = made_anew(augmented)
    store = MelStore(chosen.out)
    sung = [n for n, item in enumerate(store.items) if item.family == "melody"]
    assert [store.items[n].role for n in sung] == ["source", "target"] * 4
    plain = {item.id: n for n, item in enumerate(store.items) if item.role == "plain"}
    for source, target in zip(sung[::2], sung[1::2], strict=True):
        same = plain[store.items[source].id]
        assert np.array_equal(store.mel(source), store.mel(same))
        assert store.items[target].id == store.items[source].id
        assert store.target_map(target) is None
        assert not np.array_equal(store.mel(target), store.mel(source)[: len(store.mel(target))])
    assert made_anew(augmented) == first
    fewer = chosen.model_copy(
        update={"pitch_augmentation": 0.5, "pairs": (), "out": chosen.out / "half"}
    )
    list(make_mel_data(fewer))
    assert 0 < sum(item.family == "melody" for item in MelStore(fewer.out).items) < 8


def test_f0_contours_are_flat_or_lively() -> None:
    rng = np.random.default_rng(1)
    recipes = [melody_recipe(rng) for _ in range(200)]
    flat = [recipe for recipe in recipes if recipe.f0_range < 0.3]
    assert 0.2 < len(flat) / 200 < 0.4
    assert all(recipe.f0_ratio == 1.0 and recipe.rate == 1.0 for recipe in recipes)
    assert max(recipe.f0_range for recipe in recipes) > 1.5


@pytest.mark.parametrize("given", [{}, {"pairs": ("pairs",), "pitch_augmentation": 0.5}])
def test_what_needs_a_cache_is_refused_without_one(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs a cache"):
        MelDataSettings.model_validate({"tokenizer": "t", "out": "o", **given})
