"""Sets of acted emotions whose file names hold speaker, sentence, emotion and take.

All are parallel: the same speaker says the same words in several emotions, so ``group`` joins
the renditions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stepedit_core.pairs import CorpusItem
from stepedit_pairs.corpora.labels import own_spelling
from stepedit_pairs.corpora.walking import NamedFiles, first_text, item_id, same_words

__all__ = ["CremaD", "EmoDb", "JlCorpus", "Ravdess"]


class CremaD(NamedFiles):
    """CREMA-D: ``1001_DFA_ANG_XX.wav`` is actor, sentence, emotion and level.

    Source: the README of CheyneyComputerScience/CREMA-D. Licence: Open Database License.
    """

    name = "crema_d"
    # One file of the set, 1040_ITH_SAD_X, has a single X.
    pattern = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)")
    sentences: ClassVar[Mapping[str, str]] = {
        "IEO": "It's eleven o'clock.",
        "TIE": "That is exactly what happened.",
        "IOM": "I'm on my way to the meeting.",
        "IWW": "I wonder what this is about.",
        "TAI": "The airplane is almost full.",
        "MTI": "Maybe tomorrow it will be cold.",
        "IWL": "I would like a new alarm clock.",
        "ITH": "I think I have a doctor's appointment.",
        "DFA": "Don't forget a jacket.",
        "ITS": "I think I've seen this before.",
        "TSI": "The surface is slick.",
        "WSI": "We'll stop in a couple of minutes.",
    }
    levels: ClassVar[Mapping[str, str]] = {"LO": "low", "MD": "medium", "HI": "high"}

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name."""
        actor, sentence, emotion, level = match.groups()
        labels = {"emotion": own_spelling("emotion", emotion)}
        if level in self.levels:
            labels["intensity"] = self.levels[level]
        return CorpusItem(
            item_id(root, file),
            str(file),
            self.sentences.get(sentence),
            f"crema_d_{actor}",
            "en",
            labels,
            group=f"crema_d_{actor}|{sentence}",
            licence="ODbL-1.0",
            corpus="crema_d",
        )


class Ravdess(NamedFiles):
    """RAVDESS: ``03-01-06-01-02-01-12.wav`` is modality, channel, emotion, ... and actor.

    The seven fields: modality (03 audio only), vocal channel (01 speech, 02 song), emotion,
    intensity (01 normal, 02 strong), statement, repetition, actor. Song and video are left out.
    Source: Livingstone & Russo 2018 (doi:10.5281/zenodo.1188976). Licence: CC BY-NC-SA 4.0.
    """

    name = "ravdess"
    pattern = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
    emotions: ClassVar[tuple[str, ...]] = (
        "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
    )  # fmt: skip
    sentences: ClassVar[Mapping[str, str]] = {
        "01": "Kids are talking by the door.",
        "02": "Dogs are sitting by the door.",
    }

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name; None for song and for sound of video."""
        modality, channel, emotion, intensity, statement, _, actor = match.groups()
        if (modality, channel) != ("03", "01"):
            return None
        return CorpusItem(
            item_id(root, file),
            str(file),
            self.sentences[statement],
            f"ravdess_{actor}",
            "en",
            {
                "emotion": own_spelling("emotion", self.emotions[int(emotion) - 1]),
                "intensity": {"01": "normal", "02": "strong"}[intensity],
            },
            group=f"ravdess_{actor}|{statement}",
            licence="CC BY-NC-SA 4.0",
            corpus="ravdess",
        )


class EmoDb(NamedFiles):
    """EMO-DB, the Berlin set: ``03a01Fa.wav`` is speaker, text, emotion and version.

    Source: Burkhardt et al. 2005, Interspeech; the code tables of emodb.bilderbar.info. The
    recordings carry no licence of their own in the set's files.
    """

    name = "emo_db"
    pattern = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")
    emotions: ClassVar[Mapping[str, str]] = {
        "W": "angry", "L": "bored", "E": "disgusted", "A": "fear", "F": "happy", "T": "sad",
        "N": "neutral",
    }  # fmt: skip
    sentences: ClassVar[Mapping[str, str]] = {
        "a01": "Der Lappen liegt auf dem Eisschrank.",
        "a02": "Das will sie am Mittwoch abgeben.",
        "a04": "Heute abend könnte ich es ihm sagen.",
        "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
        "a07": "In sieben Stunden wird es soweit sein.",
        "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
        "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
        "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
        "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
        "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
    }

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name."""
        speaker, text, emotion, _ = match.groups()
        return CorpusItem(
            item_id(root, file),
            str(file),
            self.sentences.get(text),
            f"emo_db_{speaker}",
            "de",
            {"emotion": self.emotions[emotion]},
            group=f"emo_db_{speaker}|{text}",
            corpus="emo_db",
        )


class JlCorpus(NamedFiles):
    """JL-Corpus: ``female1_angry_10a_1.wav`` is speaker, emotion, sentence and session.

    A text file beside each recording holds its words. Source: James, Tian & Watson 2018,
    Interspeech, and the README that comes with the set.
    """

    name = "jl_corpus"
    pattern = re.compile(r"((?:fe)?male\d)_([a-z]+)_(\d+[a-z]?)_(\d)")

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name and its text file."""
        speaker, emotion, sentence, _ = match.groups()
        who = f"jl_{speaker}"
        text = first_text(file.with_suffix(".txt"))
        return CorpusItem(
            item_id(root, file),
            str(file),
            text,
            who,
            "en-NZ",
            {"emotion": own_spelling("emotion", emotion)},
            group=same_words(who, text) or f"{who}|{sentence}",
            corpus="jl_corpus",
        )
