"""`molregpt web` in a real browser: draw, type, click, look."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from molindex.smiles import canonical_smiles

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]

PATIENCE_MS = 60_000
SMILES = "#smiles textarea"


@pytest.fixture(scope="module")
def url(index_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("web")
    environment = os.environ | {"MOLREGPT_CACHE": str(index_cache), "TMPDIR": str(home)}
    command = [sys.executable, "-m", "molregpt", "web", "--port", "0"]
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
            assert not list(home.glob("molregpt-web-*"))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The opened page, whose scripts make no mistake, and which asks nobody else for anything."""
    elsewhere: list[str] = []
    mistakes: list[str] = []
    page = browser.new_page(viewport={"width": 1240, "height": 1000})
    page.on("request", lambda request: elsewhere.append(request.url))
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.goto(url)
    page.wait_for_selector("html[data-editor=ready]", timeout=PATIENCE_MS)
    yield page
    page.close()
    assert {address for address in elsewhere if not address.startswith((url, "data:", "blob:"))} == set()
    assert mistakes == []


def ask(page: Any, button: str, result: str) -> Any:
    """Click, and wait for what comes."""
    page.click(button)
    frame = page.frame_locator(f"{result} iframe")
    frame.locator("#answer, [role=alert]").first.wait_for(timeout=PATIENCE_MS)
    return frame


def keep_picture(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / name, full_page=True)


def written(page: Any) -> str:
    return str(page.input_value(SMILES))


def test_a_molecule_is_drawn_and_described(page: Any) -> None:
    """The toolbar's bond makes ethane, where it has been cleared its ring makes benzene."""
    canvas = page.frame_locator(".editor iframe").locator("#editor")
    box = page.locator(".editor iframe").bounding_box()
    left, top = box["x"], box["y"]
    canvas.wait_for()
    drawn = "document.querySelector('#smiles textarea').value"
    page.mouse.click(left + 250, top + 150)
    page.wait_for_function(f"{drawn} === 'CC'", timeout=PATIENCE_MS)
    page.mouse.click(left + 13, top + 12)  # clear
    page.mouse.click(left + 34, top + 202)  # the aromatic ring
    page.mouse.click(left + 250, top + 150)
    page.wait_for_function(f"{drawn}.length > 6", timeout=PATIENCE_MS)
    assert canonical_smiles(written(page)) == "c1ccccc1"
    frame = ask(page, "#describe", "#described")
    assert "benzene" in frame.locator("#answer").inner_text()
    keep_picture(page, "molregpt-drawn.png")


def test_a_molecule_is_typed_drawn_and_described_beside_its_neighbours(page: Any) -> None:
    page.fill(SMILES, "CC(=O)OC1=CC=CC=C1C(=O)O")
    # What was typed is drawn, and what is drawn is not written back in another spelling.
    page.wait_for_timeout(1000)
    assert written(page) == "CC(=O)OC1=CC=CC=C1C(=O)O"
    frame = ask(page, "#describe", "#described")
    assert frame.locator("#answer").inner_text().startswith("The molecule is an acetate ester")
    assert frame.locator(".neighbours figure").count() == 8
    shared = frame.locator(".neighbours svg").first.locator("[fill*='atom-shared'], [style*='atom-shared']")
    assert shared.count() > 0
    assert frame.locator(".checks li.good").count() == 2
    assert not frame.locator(".message.system pre").is_visible()
    frame.locator("details.prompt summary").click()
    assert frame.locator(".message.system pre").inner_text().startswith("You are a chemist")
    page.wait_for_function(
        "(() => { const f = document.querySelector('#described iframe');"
        " return f.clientHeight >= f.contentDocument.body.scrollHeight; })()"
    )
    frame.locator("details.prompt summary").click()
    keep_picture(page, "molregpt-described.png")


def test_an_example_is_drawn_and_fewer_neighbours_can_be_asked_for(page: Any) -> None:
    page.get_by_text("Caffeine").click()
    page.wait_for_function("document.querySelector('#smiles textarea').value.startsWith('CN1C')")
    page.locator("input[type=number]").first.fill("3")
    page.keyboard.press("Tab")
    frame = ask(page, "#describe", "#described")
    assert frame.locator(".neighbours figure").count() == 3
    assert "purine" in frame.locator(".neighbours").first.inner_text()


def test_a_description_is_drawn(page: Any) -> None:
    page.get_by_role("tab", name="Find a molecule").click()
    page.fill("#text textarea", "The molecule is a 17beta-hydroxy steroid and a 3-oxo-Delta(4) steroid.")
    frame = ask(page, "#propose", "#proposed")
    canonical_smiles(frame.locator("#answer").inner_text())
    assert frame.locator("figure.answered svg").count() == 1
    assert "steroid" in " ".join(frame.locator("mark").all_inner_texts())
    keep_picture(page, "molregpt-proposed.png")


def test_mistakes_are_told_in_one_line(page: Any) -> None:
    assert ask(page, "#describe", "#described").locator("[role=alert]").inner_text() == (
        "draw a molecule first, or type one"
    )
    page.fill(SMILES, "CC(=O<script>")
    frame = ask(page, "#describe", "#described")
    alert = frame.locator("[role=alert]")
    playwright.expect(alert).to_contain_text("not a SMILES that RDKit can read: 'CC(=O<script>'", timeout=PATIENCE_MS)
