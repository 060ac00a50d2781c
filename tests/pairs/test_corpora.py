"""Readers of corpora, on folders made in each set's published layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stepedit_emotion
import stepedit_style
from stepedit_pairs.corpora import READERS, configured_reader
from stepedit_pairs.corpora.labels import attribute_of, own_spelling
from stepedit_pairs.corpora.tagged import tagged

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader
from stepedit_core.registry.registry import Registry
from tests.pairs.making import registry
from tests.shared_data import need_shared

__all__ = ["registry"]


@pytest.fixture(autouse=True)
def labels(registry: Registry) -> None:
    """The plugins that spell labels are there, too."""
    registry.register(stepedit_emotion, "emotion")
    registry.register(stepedit_style, "style")


def make(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files; recordings may hold anything, because readers open none."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(registry: Registry, root: Path, expected: str) -> list[CorpusItem]:
    """Read a corpus by the reader that recognises it."""
    reader = find_reader(root, registry=registry)
    assert reader.name == expected
    items = list(reader.items(root))
    assert items == list(reader.items(root))
    assert len({item.id for item in items}) == len(items)
    return items


def test_crema_d(registry: Registry, tmp_path: Path) -> None:
    names = ("1001_DFA_ANG_XX", "1001_DFA_NEU_XX", "1002_IEO_HAP_HI", "1040_ITH_SAD_X")
    root = make(tmp_path, {f"AudioWAV/{name}.wav": "" for name in names})
    items = read(registry, root, "crema_d")
    assert [item.labels["emotion"] for item in items] == ["angry", "neutral", "happy", "sad"]
    assert items[0].group == items[1].group != items[2].group
    assert items[0].transcript == "Don't forget a jacket." and items[0].licence == "ODbL-1.0"
    assert items[2].labels["intensity"] == "high" and "intensity" not in items[0].labels


def test_ravdess_leaves_out_song(registry: Registry, tmp_path: Path) -> None:
    names = (
        "Actor_12/03-01-06-01-02-01-12",
        "Actor_12/03-01-01-01-02-02-12",
        "Actor_01/03-01-08-02-01-01-01",
        "Actor_01/03-02-05-02-01-01-01",
    )
    items = read(registry, make(tmp_path, {f"{name}.wav": "" for name in names}), "ravdess")
    assert [item.labels["emotion"] for item in items] == ["surprised", "neutral", "fear"]
    assert items[0].labels["intensity"] == "strong"
    assert items[1].group == items[2].group == "ravdess_12|02"
    assert items[1].transcript == "Dogs are sitting by the door."


def test_emo_db(registry: Registry, tmp_path: Path) -> None:
    names = ("03a01Fa", "03a01Nc", "16b10Wb", "08a07La")
    items = read(registry, make(tmp_path, {f"wav/{name}.wav": "" for name in names}), "emo_db")
    assert [item.labels["emotion"] for item in items] == ["happy", "neutral", "bored", "angry"]
    assert items[0].group == items[1].group and items[0].language == "de"
    assert items[3].transcript == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."


@pytest.mark.parametrize("splits", [True, False])
def test_esd(registry: Registry, tmp_path: Path, splits: bool) -> None:
    part = "test/" if splits else ""
    files: dict[str, str | bytes] = {
        f"0011/Neutral/{part}0011_000021.wav": "",
        f"0011/Angry/{part}0011_000371.wav": "",
        f"0011/Surprise/{part}0011_001421.wav": "",
        "0011/0011.txt": "0011_000021\tThe nine the eggs.\tNeutral\n"
        "0011_000371\tThe nine the eggs!\tAngry\n",
        f"0002/Happy/{part}0002_000721.wav": "",
        "0002/0002.txt": "0002_000721\t打远一看\t快乐\n".encode("utf-16"),
    }
    items = read(registry, make(tmp_path, files), "esd")
    found = {item.id.rpartition("/")[2]: item for item in items}
    assert found["0002_000721.wav"].transcript == "打远一看"
    assert found["0002_000721.wav"].language == "zh"
    trio = [found[f"0011_{number}.wav"] for number in ("000021", "000371", "001421")]
    assert {item.group for item in trio} == {"esd_0011|021"}
    assert [item.labels["emotion"] for item in trio] == ["neutral", "angry", "surprised"]
    assert trio[1].transcript == "The nine the eggs!" and trio[2].transcript is None
    assert trio[0].split == ("test" if splits else None)


def test_jl_corpus(registry: Registry, tmp_path: Path) -> None:
    files = {}
    for name in ("female1_angry_10a_1", "female1_neutral_10a_2", "male2_sad_15b_2"):
        files[f"{name}.wav"] = ""
        files[f"{name}.txt"] = "Carl leaps into a jeep." if "10a" in name else "Jack."
    items = read(registry, make(tmp_path, files), "jl_corpus")
    assert [item.labels["emotion"] for item in items] == ["angry", "neutral", "sad"]
    assert items[0].group == items[1].group != items[2].group
    assert items[0].speaker == "jl_female1" and items[0].transcript == "Carl leaps into a jeep."


def test_librispeech_and_libritts(registry: Registry, tmp_path: Path) -> None:
    speech = make(
        tmp_path / "LibriSpeech",
        {
            "dev-clean/84/121123/84-121123-0001.flac": "",
            "dev-clean/84/121123/84-121123-0000.flac": "",
            "dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO\n84-121123-0001 OH BUT\n",
            "train-other-500/25/1/25-1-0000.flac": "",
        },
    )
    items = read(registry, speech, "librispeech")
    assert [item.transcript for item in items] == ["GO", "OH BUT", None]
    assert [item.split for item in items] == ["dev", "dev", "train"]
    assert items[0].speaker == "librispeech_84"
    name = "test-clean/61/70968/61_70968_000003_000001"
    tts = {f"{name}.wav": "", f"{name}.normalized.txt": "Six o'clock.", f"{name}.original.txt": "6"}
    (item,) = read(registry, make(tmp_path / "LibriTTS", tts), "libritts")
    assert (item.transcript, item.split, item.licence) == ("Six o'clock.", "test", "CC BY 4.0")


def test_vctk_takes_one_microphone(registry: Registry, tmp_path: Path) -> None:
    wav = "wav48_silence_trimmed"
    files = {
        f"{wav}/p225/p225_001_mic1.flac": "",
        f"{wav}/p225/p225_001_mic2.flac": "",
        f"{wav}/p280/p280_001_mic2.flac": "",
        f"{wav}/s5/s5_002_mic1.flac": "",
        "txt/p225/p225_001.txt": "Please call Stella.\n",
        "txt/p280/p280_001.txt": "Please call Stella.",
    }
    items = read(registry, make(tmp_path / "new", files), "vctk")
    assert [Path(item.path).stem for item in items] == [
        "p225_001_mic1", "p280_001_mic2", "s5_002_mic1",
    ]  # fmt: skip
    assert items[0].transcript == items[1].transcript == "Please call Stella."
    assert items[0].group != items[1].group and items[2].transcript is None
    old = {"wav48/p225/p225_003.wav": "", "txt/p225/p225_003.txt": "Six spoons"}
    (item,) = read(registry, make(tmp_path / "old", old), "vctk")
    assert item.transcript == "Six spoons"


def test_nvspeech_tags(registry: Registry, tmp_path: Path) -> None:
    facts = {"id": "x", "wav": "gone/a.mp3", "text": "Well (Uhm) no [laughter] (yes)",
             "speaker": "S1", "language": "zh", "duration": 2.0}  # fmt: skip
    files = {"a/a.mp3": "", "a/a.json": json.dumps({**facts, "id": "ZH_1"})}
    (item,) = read(registry, make(tmp_path / "sidecars", files), "nvspeech")
    assert item.transcript == "Well [Uhm] no [Laughter] (yes)"
    assert item.labels["event"] == "Uhm+Laughter" and item.speaker == "S1"
    assert item.path.endswith("a/a.mp3") and item.id == "ZH_1"
    line = json.dumps({"file_name": "clips/b.wav", "text": "好<|Surprise-oh|>", "speaker": "S2"})
    indexed = make(tmp_path / "indexed", {"metadata.jsonl": line, "clips/b.wav": ""})
    (item,) = read(registry, indexed, "nvspeech")
    assert item.transcript == "好[Surprise-oh]" and Path(item.path) == indexed / "clips/b.wav"
    assert tagged("no tags (at all)") == ("no tags (at all)", ())


def test_folder_with_transcripts(registry: Registry, tmp_path: Path) -> None:
    files = {
        "anna/one.wav": "", "anna/one.lab": "hello\nthere", "anna/two.ogg": "",
        "anna/two.txt": "Hello, there", "three.flac": "", ".hidden/x.wav": "",
    }  # fmt: skip
    items = read(registry, make(tmp_path, files), "folder")
    found = {item.id: item for item in items}
    assert set(found) == {"anna/one.wav", "anna/two.ogg", "three.flac"}
    assert found["anna/one.wav"].transcript == "hello there"
    assert found["anna/one.wav"].group == found["anna/two.ogg"].group is not None
    assert found["three.flac"].speaker is None and found["three.flac"].transcript is None


def test_manifests(registry: Registry, tmp_path: Path) -> None:
    table = (
        "Audio_FilePath,Sentence,speaker_id,lang,label,kind,licence,suggested_split\n"
        'a.wav,"Yes, I can",s1,en,anger,emotion_parallel,CC0-1.0,train\n'
        "/abs/b.wav,,s1,en,character:Pirate,style,,\n"
        "c.wav,,,,laughter (mostly),nonverbal,,test\n"
        "d.wav,,,,rain,noise,,\n"
    )
    root = make(tmp_path, {"set.csv": table, "set.tsv": "path\ttext\nx.wav\thello\n"})
    items = read(registry, root / "set.csv", "manifest")
    assert [item.path for item in items] == [str(root / "a.wav"), "/abs/b.wav", str(root / "c.wav")]
    assert items[0].transcript == "Yes, I can" and items[0].split == "train"
    assert items[0].labels["emotion"] == "angry" and items[0].labels["style"] == "neutral"
    assert items[1].labels["style"] == "pirate" and items[2].labels["event"] == "laughter"
    assert read(registry, root / "set.tsv", "manifest")[0].transcript == "hello"
    lines = [
        {"audio": {"path": "y.wav"}, "emotion": "Happiness", "speaker": 7, "text": "Ja"},
        {"path": "z.wav", "speaker": 7, "text": "ja!", "style": "whispering"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    items = read(registry, make(root, {"m.jsonl": text}) / "m.jsonl", "manifest")
    assert items[0].group == items[1].group == "7|ja" and items[0].corpus == "m"
    assert items[0].labels["emotion"] == "happy" and items[1].labels["style"] == "whisper"


def test_bad_manifests_name_the_line(registry: Registry, tmp_path: Path) -> None:
    reader = find_reader(make(tmp_path, {"a.csv": "x,y\n1,2\n"}) / "a.csv", registry=registry)
    with pytest.raises(StepeditError, match=r"a\.csv, line 2: no recording; .*\(there is x, y\)"):
        list(reader.items(tmp_path / "a.csv"))
    make(tmp_path, {"b.jsonl": '{"path": "x.wav"}\n{"path": \n'})
    with pytest.raises(StepeditError, match=r"b\.jsonl, line 2: not JSON"):
        list(reader.items(tmp_path / "b.jsonl"))


def test_which_reader(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="no such file"):
        find_reader(tmp_path / "none", registry=registry)
    with pytest.raises(StepeditError, match=r"no layout that is known .* crema_d, .* vctk"):
        find_reader(make(tmp_path / "empty", {"a.doc": ""}), registry=registry)
    both = make(tmp_path / "both", {"03a01Fa.wav": "", "metadata.jsonl": ""})
    with pytest.raises(StepeditError, match=r"several layouts; .* emo_db, nvspeech"):
        find_reader(both, registry=registry)
    assert find_reader(both, "emo_db", registry=registry).name == "emo_db"
    with pytest.raises(StepeditError, match="no corpus layout 'timit'"):
        find_reader(both, "timit", registry=registry)
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_labels_have_one_spelling() -> None:
    assert [own_spelling("emotion", name) for name in ("Fearful", "DIS", "anger", "Zeal")] == [
        "fear", "disgusted", "angry", "zeal",
    ]  # fmt: skip
    assert own_spelling("style", "Style: Whispered") == "whisper"
    assert attribute_of("shouting") == "style"
    assert attribute_of("rain") is None


def test_manifests_at_hand(registry: Registry) -> None:
    speech = need_shared("speech", "manifest.csv")
    items = read(registry, speech, "manifest")
    assert len(items) > 5000 and not any(item.labels.get("kind") == "rir" for item in items)
    ravdess = [item for item in items if item.corpus == "ravdess"]
    assert len({item.group for item in ravdess}) == 48
    assert all(Path(item.path).is_file() for item in items[::100])
    kokoro = read(registry, need_shared("kokoro", "manifest.jsonl"), "manifest")
    assert kokoro[0].transcript and Path(kokoro[0].path).is_file()


def test_tables_without_header(registry: Registry, tmp_path: Path) -> None:
    text = 'LJ001-0001|"Printing," 1 said|"Printing," one said\nLJ001-0002|in being|in being\n'
    root = make(tmp_path / "LJ", {"metadata.csv": text, "wavs/LJ001-0001.wav": ""})
    items = read(registry, root, "ljspeech")
    assert [item.id for item in items] == ["LJ001-0001", "LJ001-0002"]
    assert items[0].transcript == '"Printing," one said'
    assert Path(items[0].path) == root / "wavs/LJ001-0001.wav"
    assert read(registry, root / "metadata.csv", "manifest") == items
    two = make(tmp_path / "two", {"list.csv": "a.wav|Go; home, \nb.wav|So\n"})
    items = read(registry, two / "list.csv", "manifest")
    assert [item.transcript for item in items] == ["Go; home,", "So"]
    (two / "filelist.txt").write_text("a.wav|Go home\nb.wav|So\n")
    items = read(registry, two / "filelist.txt", "manifest")
    assert [item.transcript for item in items] == ["Go home", "So"]
    three = make(tmp_path / "three", {"list.csv": "a.wav|7|Go home\n"})
    with pytest.raises(StepeditError, match=r"list\.csv, line 1"):
        read(registry, three / "list.csv", "manifest")


def test_words_and_parts_that_would_be_lost(registry: Registry, tmp_path: Path) -> None:
    lines = {
        "list.jsonl": '{"path": "a.wav", "text": ["Go", "home"]}\n',
        "part.jsonl": '{"audio_filepath": "a.wav", "text": "Go", "offset": 3.5, "duration": 1}\n',
        "twice.jsonl": '{"path": "a.wav", "text": "Go", "text": "home"}\n',
    }
    root = make(tmp_path, dict(lines))
    for name, what in (("list", "holds a list"), ("part", "offset 3.5"), ("twice", "there twice")):
        with pytest.raises(StepeditError, match=rf"{name}\.jsonl, line 1: .*{what}"):
            read(registry, root / f"{name}.jsonl", "manifest")
    foreign = make(tmp_path / "f", {"a.wav": "", "a.txt": "Grüße".encode("cp1252")})
    with pytest.raises(StepeditError, match=r"a\.txt, line 1: not UTF-8"):
        read(registry, foreign, "folder")


def test_readers_are_told_of_dialects(registry: Registry, tmp_path: Path) -> None:
    root = make(tmp_path, {"a.csv": "path:text\na.wav:Grüße\n".encode("cp1252"), "b/c.wav": ""})
    reader = configured_reader(find_reader(root / "a.csv", registry=registry), "cp1252", ":")
    assert [item.transcript for item in reader.items(root / "a.csv")] == ["Grüße"]
    with pytest.raises(StepeditError, match="'folder' reads no tables; leave --encoding out"):
        configured_reader(find_reader(root / "b", registry=registry), "cp1252")


def test_what_is_no_corpus_says_why(registry: Registry, tmp_path: Path) -> None:
    root = make(tmp_path, {"a.wav": "", "sub/a.xyz": ""})
    (root / "empty").mkdir()
    for name, why in (
        ("a.wav", r"a\.wav is no corpus; give a manifest"),
        ("empty", "empty: the folder is empty"),
        ("sub", "sub has no layout that is known here; name its layout"),
    ):
        with pytest.raises(StepeditError, match=why):
            find_reader(root / name, registry=registry)


def test_paths_of_windows(registry: Registry, tmp_path: Path) -> None:
    files = {"sub/a.wav": "", "b\\c.wav": "", "m.csv": "path,text\nsub\\a.wav,one\nb\\c.wav,two\n"}
    items = read(registry, make(tmp_path, files) / "m.csv", "manifest")
    assert [item.path for item in items] == [
        str(tmp_path / "sub/a.wav"),
        str(tmp_path / "b\\c.wav"),
    ]
    (tmp_path / "n.csv").write_text("path,text\nsub/a.wav,one\nC:\\data\\a.wav,two\n")
    with pytest.raises(StepeditError, match=r"n\.csv, line 3: C:.* is a path of Windows"):
        list(find_reader(tmp_path / "n.csv", registry=registry).items(tmp_path / "n.csv"))
