"""The page in a real browser: words, sentences, edits, undo, export, keys, accessibility."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api")
axe_core = pytest.importorskip("axe_core_python")

from stepedit_serve.app import STUDIO  # noqa: E402

from stepedit_core.recordings import packaged_speech  # noqa: E402
from tests.serve.test_kills import free_port, start  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A microphone that plays a file, and no question whether the page may hear it.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
WAIT = 120_000
TOO_WIDE = """document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth)
    .map((one) => one.id || one.tagName)"""
# Texts of a form that are not in Chinese and do not say that they are English.
ENGLISH = """[...document.querySelectorAll("#form label, #form p, #form .name, #form option")]
  .filter((one) => one.textContent && !/[\\u4e00-\\u9fff–]/.test(one.textContent))
  .filter((one) => !/^(WPE|SoX|Rubber |Signals|DeepFilter|RNNoise|Hush)/.test(one.textContent))
  .map((one) => one.textContent)"""
NAME = "doubt"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("studio")
    port = free_port()
    process = start(folder, port, "--engine", "embedded", "--mark", "auto")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium")
    spoken = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    packaged_speech(NAME).resample(48_000).write(spoken, subtype="PCM_16")
    heard = f"--use-file-for-fake-audio-capture={spoken}"
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, heard])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, base: str) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 1300, "height": 900}, accept_downloads=True, locale="en-GB"
    )
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(base)
    page.wait_for_function("document.querySelectorAll('#edit option').length > 3", timeout=WAIT)
    yield page
    assert page.faults == []
    context.close()


def upload(page: Any, folder: Path) -> None:
    """Upload a packaged recording with its transcript and wait for the words."""
    speech = packaged_speech(NAME)
    path = folder / "doubt.wav"
    speech.write(path)
    page.fill("#begin-text", speech.transcript or "")
    page.set_input_files("#file", str(path))
    page.wait_for_selector(".word", timeout=WAIT)


def versions(page: Any) -> int:
    return int(page.locator("#versions [role=treeitem]").count())


def wait_for(page: Any, count: int) -> None:
    """Wait until there are so many versions, and their words."""
    page.wait_for_function(
        f"document.querySelectorAll('#versions [role=treeitem]').length === {count}"
        " && document.getElementById('job').hidden && document.querySelector('.word')",
        timeout=WAIT,
    )
    assert page.inner_text("#error") == ""


def text(page: Any) -> str:
    return " ".join(page.locator(".word").all_inner_texts())


def violations(page: Any) -> list[str]:
    """Return what axe-core complains of."""
    source = Path(axe_core.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(source)
    found = page.evaluate("axe.run(document)")["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


def test_a_recording_is_edited_by_its_words(page: Any, tmp_path: Path) -> None:
    assert violations(page) == []
    upload(page, tmp_path)
    assert text(page) == packaged_speech(NAME).transcript
    assert violations(page) == []

    # A sentence is chosen, and an emotion put on it through the form.
    page.click("[data-sentence='0']")
    assert page.locator(".word[aria-pressed=true]").count() == page.locator(".word").count()
    page.select_option("#edit", "emotion")
    page.select_option("#field-to", label="happy")
    page.click("#form button[type=submit]")
    wait_for(page, 2)
    page.click("#undo")
    page.wait_for_function("document.getElementById('undo').disabled", timeout=WAIT)
    page.wait_for_selector(".word", timeout=WAIT)

    # Typing over a word replaces it, which begins a branch; deleting deletes.
    page.locator(".word", has_text=re.compile("^pleasant")).click()
    page.keyboard.press("g")
    page.keyboard.type("ood")
    page.keyboard.press("Enter")
    wait_for(page, 3)
    assert "good" in text(page)
    page.locator(".word", has_text=re.compile("^not")).click()
    page.keyboard.press("Delete")
    wait_for(page, 4)
    assert "not" not in text(page)

    # What is there is taken away as files.
    for value, check in (
        ("audio:flac", lambda data: data[:4] == b"fLaC"),
        ("alignment:textgrid", lambda data: b"TextGrid" in data),
        ("chain:json", lambda data: len(json.loads(data)["edits"]) == 2),
    ):
        with page.expect_download(timeout=WAIT) as download:
            page.select_option("#export", value)
        assert check(Path(download.value.path()).read_bytes())
    page.reload()
    page.wait_for_selector(".word", timeout=WAIT)
    assert versions(page) == 4


def test_a_sentence_is_shown_before_it_runs(page: Any, tmp_path: Path) -> None:
    upload(page, tmp_path)
    page.fill("#say", "a bit slower")
    page.keyboard.press("Enter")
    page.wait_for_selector("#proposal .go", timeout=WAIT)
    assert "speed:" in page.inner_text("#proposal")
    assert versions(page) == 1
    page.click("#proposal .go")
    wait_for(page, 2)
    page.fill("#say", "paint the wall")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT)
    assert "\n" not in page.inner_text("#error").strip()


def test_a_sample_its_versions_and_their_players(page: Any) -> None:
    page.click("#sample")
    page.wait_for_selector(".word", timeout=WAIT)
    assert text(page) == packaged_speech(NAME).transcript
    page.locator(".word", has_text=re.compile("^pleasant")).click()
    page.keyboard.press("Delete")
    wait_for(page, 2)
    assert "Done: − pleasant" in page.inner_text("#status")
    assert page.locator("#versions .version").all_inner_texts()[1].startswith("▶")
    page.locator("#versions .version button").first.click()
    page.wait_for_selector("#versions button[aria-pressed=true]", timeout=WAIT)
    assert page.locator("li[aria-selected=true] .version").last.inner_text().count("pleasant") == 1
    page.locator("#versions .version button").first.click()
    page.wait_for_function("!document.querySelector('#versions button[aria-pressed=true]')")
    page.locator(".word").first.focus()
    page.keyboard.press("Control+z")
    page.wait_for_function("document.getElementById('undo').disabled", timeout=WAIT)
    page.keyboard.press("Control+y")
    page.wait_for_function("document.getElementById('redo').disabled", timeout=WAIT)
    page.wait_for_selector(".word", timeout=WAIT)
    page.click("#forget")
    page.click("#asker-yes")
    page.wait_for_selector("#drop:not([hidden])", timeout=WAIT)


def test_fingers_extend_by_a_second_tap(browser: Any, base: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(base)
    page.wait_for_function("document.querySelectorAll('#edit option').length > 3", timeout=WAIT)
    page.tap("#sample")
    page.wait_for_selector(".word", timeout=WAIT)
    for place, count in ((1, 1), (3, 3), (0, 2)):
        page.locator(".word").nth(place).tap()
        assert page.locator(".word[aria-pressed=true]").count() == count
    page.tap("#clear")
    assert page.locator(".word[aria-pressed=true]").count() == 0
    context.close()


def test_the_microphone(page: Any, base: str) -> None:
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]", timeout=WAIT)
    page.wait_for_timeout(5000)
    page.click("#record")
    page.wait_for_selector("#desk:not([hidden])", timeout=WAIT)
    page.wait_for_selector(".word", timeout=WAIT)
    said = set((packaged_speech(NAME).transcript or "").lower().split())
    assert len(said & set(text(page).lower().split())) >= 2, text(page)
    assert page.get_attribute("#record", "aria-pressed") == "false"


def test_keys_alone_choose_words(page: Any, tmp_path: Path) -> None:
    upload(page, tmp_path)
    page.locator(".word").first.focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".word[aria-pressed=true]").count() == 3
    page.keyboard.press("Control+a")
    assert page.locator(".word[aria-pressed=true]").count() == page.locator(".word").count()
    page.keyboard.press("Escape")
    assert page.locator(".word[aria-pressed=true]").count() == 0
    # A span of time by keys: to a place, its beginning, to another place, its end.
    page.evaluate("document.activeElement.blur()")
    for key in ("ArrowRight", "[", "ArrowRight", "Shift+ArrowRight", "]"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    assert page.inner_text("#selection") == "1.10 s"
    page.keyboard.press("Escape")
    assert page.inner_text("#selection") == "nothing selected"


def test_a_sentence_is_chosen_by_keys_before_all(page: Any, tmp_path: Path) -> None:
    speech = packaged_speech(NAME)
    speech.write(tmp_path / "doubt.wav")
    cues = "1\n00:00:00,100 --> 00:00:02,000\nDoubt is not a pleasant condition.\n\n"
    cues += "2\n00:00:02,000 --> 00:00:03,600\nBut certainty is absurd.\n"
    (tmp_path / "doubt.srt").write_text(cues)
    page.set_input_files("#file", [str(tmp_path / "doubt.wav"), str(tmp_path / "doubt.srt")])
    page.wait_for_selector(".word", timeout=WAIT)
    page.locator(".word").last.focus()
    for count in (4, 10):
        page.keyboard.press("Control+a")
        assert page.locator(".word[aria-pressed=true]").count() == count


def test_the_page_says_which_mark_is_exported(page: Any, tmp_path: Path) -> None:
    upload(page, tmp_path)
    assert "as it came in" in page.inner_text("#mark")
    page.select_option("#edit", "volume")
    page.fill("#field-db", "-3")
    page.click("#form button[type=submit]")
    wait_for(page, 2)
    assert page.inner_text("#mark").startswith("Exported audio carries")


def test_chinese_dark_and_narrow(page: Any, tmp_path: Path) -> None:
    upload(page, tmp_path)
    page.select_option("#language", "zh")
    assert page.inner_text("#undo") == "撤销"
    page.select_option("#edit", "emotion")
    assert page.inner_text("#field-to-label") == "情绪 to"
    assert page.locator("#field-to option").nth(1).inner_text() == "开心（happy）"
    page.select_option("#edit", "redact")
    assert "邮箱（email）" in page.inner_text("#field-patterns")
    for name in page.eval_on_selector_all("#edit option", "all => all.map(one => one.value)"):
        page.select_option("#edit", name)
        assert page.evaluate(ENGLISH) == [], name
    page.fill("#say", "粉刷墙壁")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT)
    assert page.inner_text("#error").startswith("没有看懂这句话：")
    page.click("#theme")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(TOO_WIDE) == []
    assert violations(page) == []


def test_a_hostile_file_is_one_line(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.wav"
    path.write_bytes(b"not sound at all")
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT)
    assert "\n" not in page.inner_text("#error").strip()


def test_the_page_is_small_and_loads_nothing_from_elsewhere(browser: Any, base: str) -> None:
    page = browser.new_page()
    sizes, places = [], set()
    page.on("response", lambda answer: (sizes.append(len(answer.body())), places.add(answer.url)))
    page.goto(base, wait_until="networkidle")
    assert sum(sizes) < 400_000
    assert all(place.startswith(base) for place in places)
    page.close()


def test_looks(page: Any, tmp_path: Path) -> None:
    """Nothing is cut off or wider than the page; pictures go to STEPEDIT_PICTURES, if asked for."""
    pictures = os.environ.get("STEPEDIT_PICTURES")
    upload(page, tmp_path)
    page.click("[data-sentence='0']")
    for theme in ("light", "dark"):
        if theme == "dark":
            page.click("#theme")
        for width, height in ((1300, 900), (390, 800)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(500)
            assert page.evaluate(TOO_WIDE) == []
            assert violations(page) == []
            if pictures:
                page.screenshot(path=f"{pictures}/{theme}-{width}.png", full_page=True)


def test_what_is_vendored_has_its_licence() -> None:
    assert "BSD 3-Clause" in (STUDIO / "vendor" / "wavesurfer.LICENSE").read_text()
