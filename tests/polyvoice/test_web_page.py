"""`polyvoice web` in a real browser: speak or upload, click, listen, look."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polyvoice.bundle.shipped import shipped_recordings

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]

AUDIO = shipped_recordings().parent / "audio"
SPANISH = AUDIO / "asterisk-vm-theperson.es.flac"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def spoken_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, again and again."""
    samples, rate_hz = soundfile.read(SPANISH, dtype="float32")
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def url(toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a server of its own; what it leaves behind is looked at in the end."""
    home = tmp_path_factory.mktemp("web")
    command = [sys.executable, "-m", "polyvoice.cli.main", "web", "--bundle", str(toy_bundle), "--port", "0"]
    environment = os.environ | {"TMPDIR": str(home)}
    with (home / "log").open("wb") as log, subprocess.Popen(command, stderr=log, env=environment) as process:
        try:
            for _ in range(1200):
                told = (home / "log").read_text()
                if "is shown on " in told:
                    break
                assert process.poll() is None, told
                time.sleep(0.1)
            yield told.split("is shown on ")[1].split()[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert not list(home.glob("polyvoice-web-*"))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser(spoken_wav: Path) -> Iterator[Any]:
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    arguments += [f"--use-file-for-fake-audio-capture={spoken_wav}", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The opened page, which asks nobody else for anything."""
    elsewhere: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(url)
    page.wait_for_selector("#translate", timeout=PATIENCE_MS)
    yield page
    page.close()
    assert {address for address in elsewhere if not address.startswith((url, "data:", "blob:"))} == set()


def choose(page: Any, element: str, label: str) -> None:
    page.locator(f"{element} input").click()
    page.get_by_role("option", name=label, exact=True).click()


def translate(page: Any) -> Any:
    """Click, and wait for what comes."""
    page.click("#translate")
    frame = page.frame_locator("#result iframe")
    frame.locator("audio, [role=alert]").first.wait_for(timeout=PATIENCE_MS)
    return frame


def check_both_sides(frame: Any) -> None:
    """Both are heard, as long as they say, and have their pictures."""
    players = frame.locator("audio")
    assert players.count() == 2
    for number in range(2):
        length = "player => new Promise(done => { const tell = () => done(player.duration);"
        length += " player.readyState ? tell() : player.onloadedmetadata = tell; })"
        assert players.nth(number).evaluate(length) > 0.01
    for name in ("Spectrogram", "Units"):
        pictures = frame.locator(f"img[alt={name}]")
        assert pictures.count() == 2
        for number in range(2):
            assert pictures.nth(number).evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
    assert frame.locator("table.stages tr").count() == 5


def test_an_uploaded_recording_is_translated_and_heard_beside_its_source(page: Any, tmp_path: Path) -> None:
    page.locator("#recording").get_by_label("Upload file").click()
    page.set_input_files("#recording input[type=file]", SPANISH)
    page.wait_for_selector("#recording #waveform", timeout=PATIENCE_MS)
    choose(page, "#direction", "Spanish to English")
    frame = translate(page)
    check_both_sides(frame)
    assert frame.locator(".label").all_inner_texts()[0].startswith("Spanish")
    frame.locator("summary").first.click()
    assert re.match(r"\d+", frame.locator("details code").first.inner_text())
    # A click into the middle of the spectrogram plays from there.
    source = frame.locator(".speech.source")
    source.locator(".panel").click()
    middle = source.locator("audio").evaluate("player => player.currentTime / player.duration")
    assert 0.4 < middle <= 1
    with page.expect_download() as download:
        frame.locator(".download").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "translation.en.flac"
    assert soundfile.SoundFile(saved).comment.startswith("synthetic speech, polyvoice")
    frame_height, inner = page.evaluate(
        "() => { const f = document.querySelector('#result iframe');"
        " return [f.clientHeight, f.contentDocument.body.scrollHeight]; }"
    )
    assert frame_height >= inner
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "polyvoice.png", full_page=True)


def test_what_the_microphone_hears_is_translated(page: Any) -> None:
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.wait_for_selector("#recording #waveform", timeout=PATIENCE_MS)
    page.wait_for_timeout(1000)
    choose(page, "#direction", "Spanish to English")
    check_both_sides(translate(page))


def test_all_that_the_bundle_translates_can_be_chosen_and_an_example_fills_the_form(page: Any) -> None:
    page.locator("#direction input").click()
    # The microphones are options too.
    offered = [text.strip("✓ \n") for text in page.get_by_role("option").all_inner_texts() if " to " in text]
    assert sorted(offered) == ["Chinese to English", "English to Chinese", "English to Spanish", "Spanish to English"]
    page.keyboard.press("Escape")
    page.get_by_text("Spanish to English: ").click()
    page.wait_for_selector("#recording #waveform", timeout=PATIENCE_MS)
    page.wait_for_function("document.querySelector('#direction input').value === 'Spanish to English'")
    check_both_sides(translate(page))


def test_what_cannot_be_translated_is_said_in_one_line(page: Any, tmp_path: Path) -> None:
    alert = translate(page).locator("[role=alert]")
    assert alert.inner_text() == "record something, or upload a recording, first"
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000, np.float32), 16_000)
    page.locator("#recording").get_by_label("Upload file").click()
    page.set_input_files("#recording input[type=file]", tmp_path / "silence.wav")
    page.wait_for_selector("#recording #waveform", timeout=PATIENCE_MS)
    frame = translate(page)
    playwright.expect(frame.locator("[role=alert]")).to_have_text(
        "no speech was heard in the recording", timeout=PATIENCE_MS
    )
