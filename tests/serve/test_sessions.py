"""Sessions: a tree of versions, branches, undo, words, files out; several people at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from stepedit_core import Chain
from tests.serve.serve_kit import SLOWER, error_of, form, serving, sound, speech, wav

SRT = """1
00:00:00,100 --> 00:00:00,900
One two three.

2
00:00:01,000 --> 00:00:01,900
Four five.
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("sessions")) as found:
        yield found


def begin(client: TestClient, content: bytes = b"", **fields: Any) -> dict[str, Any]:
    files = {"file": ("talk.wav", content or wav(2.0))}
    if "subtitles" in fields:
        files["subtitles"] = ("talk.srt", fields.pop("subtitles").encode())
    answer = client.post("/v1/sessions", files=files, data=form(**fields))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def edited(client: TestClient, session: str, **asked: Any) -> dict[str, Any]:
    answer = client.post(
        f"/v1/sessions/{session}/edits", json={"chain": SLOWER, "route": "dsp", **asked}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_tree(client: TestClient) -> None:
    session = begin(client, title="Talk")
    id_, root = session["id"], session["root"]
    assert (session["title"], session["head"], session["can_undo"]) == ("Talk", root, False)
    first = edited(client, id_)
    assert first["session"]["head"] == first["node"]["id"]
    assert first["node"]["parent"] == root
    assert first["node"]["report"]["steps"][0]["route"] == "dsp"
    back = client.post(f"/v1/sessions/{id_}/undo", json={}).json()
    assert (back["head"], back["can_redo"]) == (root, True)
    second = edited(client, id_, seed=4)
    assert second["node"]["parent"] == root
    branched = client.post(
        f"/v1/sessions/{id_}/branch", json={"node": first["node"]["id"], "name": "take 1"}
    ).json()
    assert branched["branches"] == {"take 1": first["node"]["id"]}
    third = edited(client, id_)
    assert third["node"]["parent"] == first["node"]["id"]
    assert third["node"]["seconds"] == pytest.approx(2.0 / 0.64, rel=0.02)
    history = client.get(f"/v1/sessions/{id_}/history").json()
    assert [node["number"] for node in history["nodes"]] == [0, 1, 2, 3]
    assert history["nodes"][2]["seed"] == 4
    client.post(f"/v1/sessions/{id_}/undo", json={})
    again = client.post(f"/v1/sessions/{id_}/redo", json={}).json()
    assert again["head"] == third["node"]["id"]


def test_a_version_is_called_what_was_done(client: TestClient) -> None:
    id_ = begin(client)["id"]
    inside = {"edit": "masked", "inner": {"edit": "volume", "db": 3}, "spans": [[0.2, 0.6]]}
    for chain, title in (
        (SLOWER, "speed"),
        (inside, "volume"),
        ({"edits": [inside, SLOWER]}, "volume, speed"),
    ):
        assert edited(client, id_, chain=chain)["node"]["title"] == title
    said = edited(client, id_, chain=None, say="a bit slower")["node"]["title"]
    assert said == "a bit slower"


def test_the_ends_of_the_tree(client: TestClient) -> None:
    id_ = begin(client)["id"]
    for way in ("undo", "redo"):
        answer = client.post(f"/v1/sessions/{id_}/{way}", json={})
        assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")
    node = begin(client)["root"]
    answer = client.post(f"/v1/sessions/{id_}/branch", json={"node": node})
    assert answer.status_code == 404


def test_an_edit_elsewhere_leaves_the_head(client: TestClient) -> None:
    session = begin(client)
    head = edited(client, session["id"])["node"]["id"]
    client.post(f"/v1/sessions/{session['id']}/undo", json={})
    side = edited(client, session["id"], parent=head)
    assert side["node"]["parent"] == head
    assert side["session"]["head"] == side["node"]["id"]


def test_audio_is_the_same_as_what_was_sent(client: TestClient) -> None:
    content, _ = speech()
    session = begin(client, content)
    seconds = session["nodes"][0]["seconds"]
    where = f"/v1/sessions/{session['id']}/nodes/{session['root']}/audio"
    np.testing.assert_array_equal(sound(client.get(where).content)[0], sound(content)[0])
    part = client.get(where, headers={"range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    for kind in ("flac", "mp3"):
        samples, rate = sound(client.get(f"{where}?format={kind}").content)
        assert len(samples) / rate == pytest.approx(seconds, abs=0.2)


def test_subtitles_are_words(client: TestClient) -> None:
    session = begin(client, subtitles=SRT)
    where = f"/v1/sessions/{session['id']}/nodes/{session['root']}"
    found = client.get(f"{where}/alignment").json()
    assert [word["text"] for word in found["words"]] == ["One", "two", "three", "Four", "five"]
    assert found["sentences"][1]["start"] == pytest.approx(1.0)
    assert "xmin" in client.get(f"{where}/alignment?format=textgrid").text
    assert "-->" in client.get(f"{where}/alignment?format=srt").text


def test_one_sentence_alone_is_edited(client: TestClient) -> None:
    session = begin(client, subtitles=SRT)
    made = edited(client, session["id"], chain={"edit": "speed", "factor": 0.8}, sentences=[2])
    node = made["node"]
    where = f"/v1/sessions/{session['id']}/nodes"
    before, _ = sound(client.get(f"{where}/{session['root']}/audio").content)
    after, rate = sound(client.get(f"{where}/{node['id']}/audio").content)
    np.testing.assert_array_equal(after[: round(0.9 * rate)], before[: round(0.9 * rate)])
    assert len(after) > len(before)
    words = client.get(f"{where}/{node['id']}/alignment").json()["words"]
    assert words[0]["start"] == pytest.approx(0.1, abs=0.01)
    assert words[-1]["end"] > 2.0


def test_chain_out(client: TestClient) -> None:
    session = begin(client)
    edited(client, session["id"])
    last = edited(client, session["id"])["node"]["id"]
    where = f"/v1/sessions/{session['id']}/nodes"
    chain = Chain.from_data(client.get(f"{where}/{last}/chain").json())
    assert len(chain) == 2
    assert client.get(f"{where}/{session['root']}/chain").status_code == 409


def test_each_version_says_whether_its_sound_is_marked(client: TestClient) -> None:
    session = begin(client)
    made = edited(client, session["id"])
    why = [node["mark"]["why"] for node in made["session"]["nodes"]]
    assert why == ["unedited", "off"]
    assert "--mark none" in made["node"]["mark"]["text"]
    where = f"/v1/sessions/{session['id']}/nodes/{made['node']['id']}"
    assert client.get(f"{where}/audio").headers["x-stepedit-mark"] == "none"


def test_words_are_corrected(client: TestClient) -> None:
    session = begin(client, subtitles=SRT)
    where = f"/v1/sessions/{session['id']}/nodes/{session['root']}"
    node = client.put(f"{where}/transcript", json={"transcript": "One two."}).json()
    assert (node["transcript"], node["has_alignment"]) == ("One two.", False)


def test_a_failed_edit_changes_nothing(client: TestClient) -> None:
    session = begin(client)
    answer = client.post(
        f"/v1/sessions/{session['id']}/edits",
        json={"chain": {"edit": "replace", "words": "x", "by": "y"}},
    )
    assert answer.status_code in (400, 422)
    assert error_of(answer)["code"] in ("invalid_chain", "step_failed")
    assert len(client.get(f"/v1/sessions/{session['id']}").json()["nodes"]) == 1


def test_an_edit_as_a_job(client: TestClient) -> None:
    session = begin(client)
    answer = client.post(
        f"/v1/sessions/{session['id']}/edits", json={"chain": SLOWER, "route": "dsp", "wait": False}
    )
    assert answer.status_code == 202
    job = answer.json()["id"]
    lines = client.get(f"/v1/jobs/{job}/events").text.splitlines()
    last = json.loads([line for line in lines if line.startswith("data:")][-1][5:])
    assert last["state"] == "done"
    assert client.get(f"/v1/sessions/{session['id']}").json()["head"] == last["node"]


def test_a_session_is_removed(client: TestClient) -> None:
    session = begin(client)
    assert client.delete(f"/v1/sessions/{session['id']}").status_code == 204
    assert client.get(f"/v1/sessions/{session['id']}").status_code == 404
    assert client.delete(f"/v1/sessions/{session['id']}").status_code == 404


def test_a_sentence_about_a_session(client: TestClient) -> None:
    session = begin(client, subtitles=SRT)
    answer = client.post(
        "/v1/interpret", json={"say": "a bit faster", "session": session["id"]}
    ).json()
    assert answer["chain"]["edits"][0]["edit"] == "speed"
    assert answer["explanation"][0]["read_from"]
