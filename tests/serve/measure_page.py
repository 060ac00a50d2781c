"""Measure the studio page with half an hour of speech: python -m tests.serve.measure_page.

The service's answers about one session are replaced by those of a recording of 30 minutes with
5,000 words, so that drawing is measured and not listening. Prints the time between frames, in ms,
while the words are scrolled, while words are chosen, and while the waveform is zoomed.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Route, sync_playwright

from tests.serve.serve_kit import wav
from tests.serve.test_kills import free_port, start
from tests.serve.test_studio import CHROMIUM, QUIET, upload

SECONDS, WORDS, SENTENCE = 1800.0, 5000, 14
FRAMES = """(act) => new Promise((done) => {
  const times = []; let last = performance.now(); let number = 0;
  const step = (now) => { times.push(now - last); last = now;
    if (number === 120) { done(times.slice(1)); return; }
    new Function("number", act)(number); number += 1; requestAnimationFrame(step); };
  requestAnimationFrame(step); })"""
ACTS = {
    "scrolling the words": "document.getElementById('words').scrollTop = number * 150",
    "choosing words": (
        "const at = document.querySelectorAll('.word')[2000 + number * 3];"
        "at.dispatchEvent(new MouseEvent('mousedown', {bubbles: true, shiftKey: number > 0}))"
    ),
    "zooming the waveform": (
        "const zoom = document.getElementById('zoom'); zoom.value = number;"
        "zoom.dispatchEvent(new Event('input'))"
    ),
}


def alignment() -> dict[str, Any]:
    """Return the words of half an hour."""
    each = SECONDS / WORDS
    words = [
        {"text": f"word{n}", "start": n * each, "end": (n + 0.9) * each, "confidence": 0.9}
        for n in range(WORDS)
    ]
    sentences = [
        {"text": "", "start": at * each, "end": (at + SENTENCE) * each, "speaker": None,
         "words": [at, min(WORDS, at + SENTENCE)]}
        for at in range(0, WORDS, SENTENCE)
    ]  # fmt: skip
    text = " ".join(str(word["text"]) for word in words)
    return {"text": text, "aligner": "made", "words": words, "sentences": sentences, "notes": []}


def long_session(route: Route) -> None:
    """Answer with the session, half an hour long."""
    data = route.fetch().json()
    for node in data["nodes"]:
        node["seconds"] = SECONDS
    route.fulfill(json=data)


def main() -> None:
    """Measure and print."""
    peaks = [math.sin(n) * (n % 97) / 97 for n in range(72_000)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        process = start(Path(folder), port)
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.goto(f"http://127.0.0.1:{port}")
            upload(page, Path(folder))
            page.route("**/v1/sessions/sess_*", long_session)
            page.route("**/alignment*", lambda route: route.fulfill(body=json.dumps(alignment())))
            page.route(
                "**/peaks*", lambda route: route.fulfill(json={"seconds": SECONDS, "peaks": peaks})
            )
            page.route("**/audio*", lambda route: route.fulfill(body=wav(1.0)))
            page.reload()
            page.wait_for_function(f"document.querySelectorAll('.word').length === {WORDS}")
            for name, act in ACTS.items():
                times = sorted(page.evaluate(FRAMES, act))
                median, late = times[len(times) // 2], times[int(0.95 * len(times))]
                print(f"{name}: median {median:.1f}, 95 % {late:.1f}, most {times[-1]:.1f} ms")
            browser.close()
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
