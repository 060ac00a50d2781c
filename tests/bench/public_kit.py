"""Folders in the layouts of public test sets, made of packaged speech: 20 items each or more."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepedit_core.recordings import packaged, packaged_speech

TEXTS = {name: row.transcript for name, row in packaged().items() if row.language.startswith("en")}
NAMES = sorted(TEXTS)[:5]


def words(name: str) -> list[str]:
    return TEXTS[name].split()


def write_speech(folder: Path, name: str) -> str:
    """Write a packaged recording and return its name in the folder."""
    path = folder / f"{name}.wav"
    if not path.is_file():
        packaged_speech(name).write(path)
    return path.name


# doteBench ------------------------------------------------------------------------------------


def instructions(name: str) -> list[tuple[str, str]]:
    """Return (category, XML) of five edits of a recording."""
    said = words(name)
    first, last, middle = said[0], said[-1], " ".join(said[1:-1])
    whole = " ".join(said)
    return [
        ("text", f"{first} <del>{said[1]}</del> {' '.join(said[2:])}"),
        ("text", f'{first} {middle} <sub targ="R&amp;D today">{last.rstrip(".")}</sub>.'),
        ("prosody", f'<pitch semitones="3">{whole}</pitch>'),
        ("prosody", f'{first} <rate factor="0.8">{middle}</rate> {last}'),
        ("pause", f'{first} <pause act="ins"/>{middle} {last}'),
        ("emotion", f'<emo type="happy" level="2">{whole}</emo>'),
        (
            "compositional",
            f'<pitch semitones="-2">{first}</pitch> <del>{said[1]}</del> '
            f"{' '.join(said[2:])}<ins> indeed</ins>",
        ),
    ]


def dote_bench(folder: Path) -> int:
    """Write 35 cases in five categories; return how many."""
    shards: dict[str, list[dict[str, Any]]] = {}
    audio = folder / "audio"
    audio.mkdir(parents=True)
    for name in NAMES:
        file = write_speech(audio, name)
        mark = hashlib.sha256((audio / file).read_bytes()).hexdigest()
        for number, (category, xml) in enumerate(instructions(name)):
            case = {
                "id": f"{name}-{number}",
                "language": "en",
                "source_audio": {"asset_id": mark, "path": f"audio/{file}", "sha256": mark},
                "instruction_xml": xml,
                "annotations": {"source_alignment": {"segments": []}},
            }
            shards.setdefault(category, []).append(case)
    for category, cases in shards.items():
        data = {"category": category, "shard": "default", "audio_assets": [], "cases": cases}
        path = folder / "data" / category / "default" / "manifest.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(data), encoding="utf-8")
    return sum(map(len, shards.values()))


# Ming, RealEdit -------------------------------------------------------------------------------


def ming_freeform(folder: Path) -> int:
    """Write 25 rows of deletion, insertion, substitution, speed and emotion."""
    rows: dict[str, list[list[str]]] = {}
    (folder / "wavs").mkdir(parents=True)
    for name in NAMES:
        path, said = f"wavs/{write_speech(folder / 'wavs', name)}", words(name)
        whole, bare = " ".join(said), said[1].strip(",.")
        asked = {
            "del/basic": (
                "delete the characters or words from index 2 to index 2.",
                " ".join([said[0], *said[2:]]),
            ),
            "ins/full": (
                f"Please recognize the language of this speech and transcribe it. And "
                f"insert 'really' before '{bare}'.",
                " ".join([said[0], "really", *said[1:]]),
            ),
            "sub/basic": (
                "substitute the characters or words from index 2 to index 2 with 'other'.",
                " ".join([said[0], "other", *said[2:]]),
            ),
            "speed/basic": ("Make the speech faster.", whole),
            "dialect/basic": ("Convert the speech to the Chengdu dialect.", whole),
        }
        for task, (instruction, edited) in asked.items():
            rows.setdefault(task, []).append([f"{name}.wav", path, instruction, whole, edited])
    for number, (task, own) in enumerate(rows.items()):
        kind, kept = task.split("/")
        table = folder / "meta" / kind / f"meta_en_{kept}.csv"
        table.parent.mkdir(parents=True)
        names = [["file_name", "path", "instruction", "original_text", "edited_text"]]
        with table.open("w", encoding="utf-8", newline="") as file:
            lines = (names if number % 2 else []) + own
            file.write("".join("|".join(line) + "\n" for line in lines))
    return sum(map(len, rows.values()))


def real_edit(folder: Path) -> int:
    """Write 20 rows: four kinds of change of five recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        "wav_fn",
        "orig_transcript",
        "new_transcript",
        "orig_masked_span",
        "new_masked_span",
        "type",
    ]
    rows = []
    for name in NAMES:
        file, said = write_speech(folder, name), words(name)
        last = len(said) - 1
        changes = [
            ([said[0], *said[2:]], "1", "0,1", "deletion"),
            ([said[0], "quite", "often", *said[1:]], "0,1", "1,2", "insertion"),
            ([said[0], "other", *said[2:]], "1", "1", "substitution"),
            ([*said[:last], "nobody."], str(last), str(last), "substitution"),
        ]
        for new, old_span, new_span, kind in changes:
            rows.append([file, " ".join(said), " ".join(new), old_span, new_span, kind])
    with (folder / "RealEdit.txt").open("w", encoding="utf-8", newline="") as file_out:
        writer = csv.writer(file_out, delimiter="\t")
        writer.writerows([names, *rows])
    return len(rows)


# SpeechEditBench, MMAE ------------------------------------------------------------------------


def _samples(name: str, audio: str) -> list[dict[str, Any]]:
    said = words(name)
    bare, target = said[1].strip(",."), " ".join([said[0], *said[2:]])
    content = {"edit_type": "delete", "transcript_target": target, "edit_original": bare}
    speaker = {"reference_wav": audio, "target_speaker": "p1"}
    emotion = {"source_emotion": "neutral", "target_emotion": "happy"}
    asked: Sequence[tuple[str, str, Mapping[str, Any]]] = [
        ("content_editing", f'Delete "{bare}".', {"anchor": content}),
        ("emotion_editing", "Change the emotion to happy.", {"anchor": emotion}),
        ("prosody_editing", "Make the speech faster.", {"anchor": {"prosody_type": "rate"}}),
        ("speaker_editing", "Convert the voice.", {"anchor": speaker}),
        (
            "compositional_editing",
            f'Delete "{bare}" and make the speech faster.',
            {
                "combo_type": "content+prosody",
                "components": [
                    {"edit_type": "content_editing", "anchor": content},
                    {"edit_type": "prosody_editing", "anchor": {"prosody_type": "rate"}},
                ],
            },
        ),
    ]
    return [
        {
            "sample_id": f"{name}-{task}",
            "task": task,
            "audio_path": audio,
            "language": "en",
            "instruction": instruction,
            "transcript": " ".join(said),
            **more,
        }
        for task, instruction, more in asked
    ]


def speech_edit_bench(folder: Path) -> int:
    """Write 25 samples of five tasks."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    audio = folder / "data" / "audio"
    audio.mkdir(parents=True)
    for name in NAMES:
        for sample in _samples(name, f"data/audio/{write_speech(audio, name)}"):
            tasks.setdefault(sample["task"], []).append(sample)
    for task, samples in tasks.items():
        path = folder / "data" / task / "samples.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in samples), encoding="utf-8")
    return sum(map(len, tasks.values()))


ASKED = (
    ["Make the speech faster."],
    ["Slow it down.", "No, make it faster."],
    ["Remove the background noise."],
    ["Put a choir of whales under it."],
)


def mmae(folder: Path) -> int:
    """Write 21 items: four requests of five recordings, and one with two recordings."""
    wavs = folder / "wav"
    wavs.mkdir(parents=True)
    items = []
    for name in NAMES:
        audio = {"type": "audio", "audio_url": f"wav/{write_speech(wavs, name)}"}
        for number, texts in enumerate(ASKED):
            said = [{"role": "user", "content": [{"type": "text", "text": text}]} for text in texts]
            said[0]["content"].append(audio)  # type: ignore[attr-defined]
            items.append({"id": f"{name}-{number}", "messages": said})
    both = [audio, audio, {"type": "text", "text": "Mix them."}]
    items.append({"id": "two", "messages": [{"role": "user", "content": both}]})
    (folder / "MMAE-meta.json").write_text(json.dumps(items), encoding="utf-8")
    return len(items)


MAKERS = {
    "dotebench": dote_bench,
    "ming-freeform": ming_freeform,
    "mmae": mmae,
    "realedit": real_edit,
    "speecheditbench": speech_edit_bench,
}
