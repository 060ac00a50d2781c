"""Codes given to a run after it was built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from stepedit_pairs.reencoding import encode_run
from stepedit_pairs.row_commands import pairs_encode
from stepedit_pairs.tokenizing import TokenizerEngine

from stepedit_core import DualCodes, Utterance
from stepedit_core.errors import AudioError, EngineError, StepeditError
from stepedit_core.models.tokenizer.identity import tokenizer_hash
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.pair_rows import CODED_BY, read_rows, row_utterance, shard_paths
from stepedit_core.testing import FakeEngine
from tests.models.audio_cases import write_semantic_graph
from tests.models.tokenizer.test_linguistic_checkpoint import write_checkpoint
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]


class Counting(FakeEngine):
    """Counts what it encodes and refuses utterances of one length."""

    def __init__(self, refused: int = -1) -> None:
        super().__init__()
        self.refused = refused
        self.seen: list[int] = []

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        if any(len(utterance.samples) == self.refused for utterance in utterances):
            raise AudioError("refused")
        self.seen += [len(utterance.samples) for utterance in utterances]
        return super().encode(utterances)


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Path:
    manifest, _ = make_corpus(tmp_path / "c", 12)
    run_toy(tmp_path / "run", manifest, min_margin=1.0)
    return tmp_path / "run"


def codes_of(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    return {row["id"]: (row["source_codes"], row["target_codes"]) for row in read_rows(folder)}


def without_codes(folder: Path) -> list[dict[str, object]]:
    return [
        {name: value for name, value in row.items() if not name.endswith(("_codes", "_start"))}
        for row in read_rows(folder)
    ]


def test_codes_are_added_and_nothing_else_changes(run: Path) -> None:
    before = without_codes(run)
    assert all(codes == (None, None) for codes in codes_of(run).values())
    done = encode_run(run, Counting(), "one")
    assert done.rows == len(before) and not done.failed and done.fresh == done.shards > 1
    assert without_codes(run) == before
    assert all(source and target for source, target in codes_of(run).values())
    metadata = pq.read_schema(shard_paths(run)[0]).metadata
    assert metadata[CODED_BY] == b"one" and b"huggingface" in metadata


def test_codes_are_those_that_a_run_with_the_engine_has(run: Path) -> None:
    row = next(read_rows(run))
    encode_run(run, FakeEngine(), "one")
    source = row_utterance(row, "source")
    assert source is not None
    alone = FakeEngine().encode([source])[0].token_string()
    assert codes_of(run)[row["id"]][0] == alone


def test_shards_that_are_done_are_left_alone(run: Path) -> None:
    encode_run(run, Counting(), "one")
    place = shard_paths(run)[0]
    stamp = place.stat().st_mtime_ns
    again = Counting()
    assert encode_run(run, again, "one").fresh == 0 and not again.seen
    assert place.stat().st_mtime_ns == stamp
    assert encode_run(run, Counting(), "another").fresh == len(shard_paths(run))


def test_the_source_of_many_pairs_is_encoded_once(run: Path) -> None:
    encoder = Counting()
    done = encode_run(run, encoder, "one")
    # Two pairs of each recording share its source.
    assert len(encoder.seen) == done.rows // 2 * 3


def test_a_copy_leaves_the_run_as_it_is(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    encode_run(run, FakeEngine(), "one", out=out)
    assert all(codes == (None, None) for codes in codes_of(run).values())
    assert all(source for source, _ in codes_of(out).values())
    assert without_codes(out) == without_codes(run)


def test_row_that_cannot_be_encoded(run: Path) -> None:
    refused = round(0.15 * 8000)
    done = encode_run(run, Counting(refused), "one")
    assert done.failed and set(done.failed.values()) == {"refused"} and done.rows > 0
    found = codes_of(run)
    assert all(found[name] == (None, None) for name in done.failed)
    assert all(found[name][0] for name in set(found) - set(done.failed))
    listed = (run / "encode-failures.jsonl").read_text().splitlines()
    assert len(listed) == len(done.failed)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="not a folder of `stepedit pairs`"):
        encode_run(tmp_path, FakeEngine(), "one")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "Step-Audio-Tokenizer"
    folder.mkdir()
    write_checkpoint(folder)
    write_semantic_graph(folder / "speech_tokenizer_v1.onnx")
    return folder


def test_a_tokenizer_alone_encodes_and_does_not_speak(tokenizer: Path) -> None:
    from stepedit_core.testing import speech_like

    engine = TokenizerEngine(tokenizer, "cpu")
    (codes,) = engine.encode([speech_like(1.0, 24_000, seed=0)])
    assert codes.groups >= 6
    with pytest.raises(EngineError, match="give a whole engine"):
        engine.generate([])


def test_tokenizer_hash(tokenizer: Path) -> None:
    before = tokenizer_hash(tokenizer)
    (tokenizer / "figures.json").write_text("{}")
    assert tokenizer_hash(tokenizer) == before
    (tokenizer / "linguistic_tokenizer.npy").write_bytes(b"other")
    assert tokenizer_hash(tokenizer) != before
    with pytest.raises(StepeditError, match="no Step-Audio-Tokenizer"):
        tokenizer_hash(tokenizer / "nowhere")


def test_the_command_encodes_with_a_tokenizer_folder(run: Path, tokenizer: Path) -> None:
    command = [str(run), "--tokenizer", str(tokenizer), "--device", "cpu"]
    done = CliRunner().invoke(pairs_encode, command, catch_exceptions=False)
    assert done.exit_code == 0 and "0 failed" in done.output
    assert all(source for source, _ in codes_of(run).values())
    # Where the codes begin is what the tokenizer's own preprocessing says.
    row = next(read_rows(run))
    source = row_utterance(row, "source")
    assert source is not None
    expected = TokenizerEngine(tokenizer, "cpu").encode([source])[0].start
    assert row["source_start"] == pytest.approx(expected) and row["target_start"] is not None


def test_a_run_is_built_with_a_tokenizer_folder(
    registry: Registry, tokenizer: Path, tmp_path: Path
) -> None:
    manifest, _ = make_corpus(tmp_path / "d", 3)
    run_toy(tmp_path / "coded", manifest, tokenizer=str(tokenizer), device="cpu")
    assert all(source and target for source, target in codes_of(tmp_path / "coded").values())
    for path in shard_paths(tmp_path / "coded"):
        assert pq.read_schema(path).metadata[CODED_BY].decode() == tokenizer_hash(tokenizer)
