from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from stepedit_core.errors import EngineError
from stepedit_core.models.decoder.decoder import Decoder, Reference
from stepedit_core.models.decoder.streaming import StreamDecoder
from stepedit_core.models.decoder.vocoder import HiFTGenerator
from tests.models.decoder_parts import (
    Golden,
    GoldenSource,
    reference,
    tiny_bigvgan,
    tiny_flow,
    tiny_hift,
    tokens,
)


@pytest.fixture(params=[tiny_hift, tiny_bigvgan])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(tiny_flow(), request.param(), n_steps=2)


def run(stream: StreamDecoder, ids: np.ndarray, size: int) -> list[np.ndarray | None]:
    pieces = [ids[at : at + size] for at in range(0, len(ids), size)]
    return [stream.push(p, last=i == len(pieces) - 1) for i, p in enumerate(pieces)]


def joined(outs: list[np.ndarray | None]) -> np.ndarray:
    return np.concatenate([out for out in outs if out is not None])


def test_one_chunk_without_a_reference_equals_the_whole_decode(decoder: Decoder) -> None:
    """With nothing before it and nothing after it a chunk is the whole utterance."""
    empty = Reference(tokens(0), np.zeros((0, 80), np.float32), reference().embedding)
    wave = StreamDecoder(decoder, empty, seed=3).push(tokens(4), last=True)
    np.testing.assert_allclose(wave, decoder.decode(tokens(4), empty, seed=3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 5, 6, 7, 14, 40, 41])
def test_every_group_is_spoken_once(decoder: Decoder, groups: int) -> None:
    outs = run(StreamDecoder(decoder, reference()), tokens(groups), 5)
    assert sum(len(out) for out in outs if out is not None) == groups * 2880


def test_chunks_come_as_soon_as_the_rule_allows(decoder: Decoder) -> None:
    stream, given, sizes, at = StreamDecoder(decoder, reference()), tokens(80), [], []
    for count, token in enumerate(given, start=1):
        out = stream.push([token])
        if out is not None:
            sizes.append(len(out))
            at.append(count)
    assert at == [25 + 5, 65 + 5, 145 + 5, 225 + 5, 305 + 5, 385 + 5]
    kept_back = 8 if isinstance(decoder.vocoder, HiFTGenerator) else 3 + 2  # frames
    assert sizes[0] == 25 * 576 - kept_back * 480
    assert sizes[1] == 40 * 576 and set(sizes[2:]) == {80 * 576}
    assert at[0] / 5 * 0.12 <= 1.5, "first audio within 1.5 s worth of tokens"


def test_how_tokens_are_cut_does_not_matter(decoder: Decoder) -> None:
    ids = tokens(40)
    one = joined(run(StreamDecoder(decoder, reference(), seed=4), ids, 1))
    seven = joined(run(StreamDecoder(decoder, reference(), seed=4), ids, 7))
    assert np.array_equal(one, seven)
    other = joined(run(StreamDecoder(decoder, reference(), seed=5), ids, 7))
    assert not np.allclose(one, other, atol=1e-4)


def test_sessions_do_not_touch_each_other(decoder: Decoder) -> None:
    ids = tokens(20)
    alone = joined(run(StreamDecoder(decoder, reference(), seed=4), ids, 5))
    mine = StreamDecoder(decoder, reference(), seed=4)
    theirs = StreamDecoder(decoder, reference(3, 9), seed=8)
    outs = []
    for at in range(0, len(ids), 5):
        theirs.push(tokens(1, at))
        outs.append(mine.push(ids[at : at + 5], last=at + 5 >= len(ids)))
    assert np.array_equal(joined(outs), alone)


def test_one_push_may_be_all(decoder: Decoder) -> None:
    assert StreamDecoder(decoder, reference()).push(tokens(9), last=True).shape == (9 * 2880,)
    assert StreamDecoder(decoder, reference()).push(tokens(1)[:3], last=True).shape == (2880,)


def test_a_long_reference_and_a_long_stream_stay_bounded() -> None:
    """A 25 s reference, longer than the public buffers, and 30 s of audio."""
    decoder = Decoder(tiny_flow(), tiny_hift(), n_steps=1)
    long = reference(210)
    stream = StreamDecoder(decoder, long, encoder_steps=700)
    frames = []
    for at in range(0, 250 * 5, 40):
        stream.push(tokens(250)[at : at + 40])
        if stream._cache is not None:
            step = stream._cache.solver[0]
            frames.append((step.frames, stream._cache.encoder.layers[0].frames))
    assert max(f for f, _ in frames) <= 210 * 6 + 96
    assert max(f for _, f in frames) == 700
    assert stream.push([], last=True).size > 0


def test_a_shortened_encoder_past_changes_only_what_comes_after() -> None:
    decoder, ids = Decoder(tiny_flow(), tiny_bigvgan(), n_steps=2), tokens(60)
    full = run(StreamDecoder(decoder, reference(), encoder_steps=None), ids, 5)
    kept = run(StreamDecoder(decoder, reference(), encoder_steps=1500), ids, 5)
    cut = run(StreamDecoder(decoder, reference(), encoder_steps=40), ids, 5)
    assert np.array_equal(joined(full), joined(kept))
    assert np.array_equal(joined(full[:7]), joined(cut[:7]))
    assert not np.array_equal(joined(full), joined(cut))


def test_a_finished_session_holds_nothing_and_refuses(decoder: Decoder) -> None:
    stream = StreamDecoder(decoder, reference())
    stream.push(tokens(3))
    caches = [weakref.ref(stream._cache), weakref.ref(stream._voice)]
    stream.push([], last=True)
    gc.collect()
    assert [cache() for cache in caches] == [None, None]
    with pytest.raises(EngineError, match="closed"):
        stream.push(tokens(1))
    with StreamDecoder(decoder, reference()) as other:
        other.push(tokens(2))
    with pytest.raises(EngineError, match="closed"):
        other.push(tokens(1))


def test_a_bad_token_is_refused_and_changes_nothing(decoder: Decoder) -> None:
    stream, ids = StreamDecoder(decoder, reference()), tokens(7)
    stream.push(ids[:5])
    with pytest.raises(EngineError, match="70000"):
        stream.push([3, 70000])
    want = joined(run(StreamDecoder(decoder, reference()), ids, 5))
    assert np.array_equal(joined([stream.push(ids[5:30]), stream.push(ids[30:], last=True)]), want)


def test_a_failure_closes_the_session(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamDecoder(decoder, reference())
    stream.push(tokens(1))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoder.flow.encoder_proj, "forward", fail)
    with pytest.raises(MemoryError):
        stream.push(tokens(7))
    with pytest.raises(EngineError, match="closed"):
        stream.push(tokens(1))


def test_wrong_uses_are_said(decoder: Decoder) -> None:
    with pytest.raises(EngineError, match="before any audio token"):
        StreamDecoder(decoder, reference()).push([], last=True)
    for steps in ((), (15, 20), (0,)):
        with pytest.raises(ValueError, match="chunk_steps"):
            StreamDecoder(decoder, reference(), chunk_steps=steps)


def test_tokens_needed_counts_down(decoder: Decoder) -> None:
    stream = StreamDecoder(decoder, reference())
    assert stream.tokens_needed == 5
    stream.push(tokens(1))
    assert stream.tokens_needed == 25
    assert stream.push(tokens(5)) is not None
    assert stream.tokens_needed == 40


@pytest.mark.parametrize("kind", ["a", "b"])
def test_streams_equal_the_public_ones(kind: str) -> None:
    golden = Golden(kind)
    want, decoder = golden.load("09_stream"), golden.decoder()
    ref, ids = golden.reference(want["prompt_ids"]), want["ids"]
    stream = StreamDecoder(decoder, ref, flow_noise=golden.noise(), source_noise=GoldenSource(4))
    ends = np.cumsum(want["call_sizes"])
    outs = [
        stream.push(ids[end - size : end], last=bool(end == ends[-1]))
        for end, size in zip(ends, want["call_sizes"], strict=True)
    ]
    lengths = [-1 if out is None else len(out) for out in outs]
    assert lengths == want["call_out_len"].tolist()
    bulk = StreamDecoder(decoder, ref, flow_noise=golden.noise(), source_noise=GoldenSource(5))
    bulk_outs = [bulk.push(ids[:60]), bulk.push(), bulk.push(ids[60:], last=True)]
    assert [-1 if o is None else len(o) for o in bulk_outs] == want["bulk_lens"].tolist()
    for got, name in ((joined(outs), "wav"), (joined(bulk_outs), "bulk_wav")):
        atol = 5e-4 if kind == "a" else 1e-1
        np.testing.assert_allclose(got, want[name][0], rtol=0, atol=atol)
        assert np.corrcoef(got, want[name][0])[0, 1] > 0.999
