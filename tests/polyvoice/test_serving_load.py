"""`polyvoice serve` as a user runs it, with real models: many clients, none lost, memory flat, a clean end."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import soundfile

from polyvoice.bundle.shipped import shipped_recordings
from polyvoice.provenance import read_comment, synthetic_tag

pytestmark = pytest.mark.slow

press = runpy.run_path(str(Path(__file__).with_name("serving_load.py")), run_name="serving_load")["press"]
AUDIO = shipped_recordings().parent / "audio"
RECORDINGS = [AUDIO / "asterisk-vm-theperson.es.flac", AUDIO / "phrasebook-05df4e34-zf_xiaoyi.zh.flac"]


@contextmanager
def serving(bundle: Path, log: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of its own process, and its address."""
    command = [str(Path(sys.executable).with_name("polyvoice")), "serve", "--bundle", str(bundle), "--port", "0"]
    with log.open("wb") as stderr, subprocess.Popen([*command, *options], stderr=stderr) as process:
        try:
            for _ in range(600):
                told = log.read_text()
                if "listens on " in told:
                    break
                assert process.poll() is None, told
                time.sleep(0.1)
            yield process, told.split("listens on ")[1].split()[0]
        finally:
            process.kill()


def test_eight_clients_are_answered_and_who_was_taken_is_answered_after_the_end(
    toy_bundle: Path, tmp_path: Path
) -> None:
    with serving(toy_bundle, tmp_path / "log") as (process, url):
        report = press(url, RECORDINGS, "en", clients=8, requests=40, seconds=0, pause_s=0)
        assert (report.answered, report.lost) == (40, [])
        assert report.statuses == {"200": 40}
        answer = end_while_asked(process, url, tmp_path)
        assert answer.status_code == 200
        (tmp_path / "answer.wav").write_bytes(answer.content)
        assert read_comment(tmp_path / "answer.wav") == synthetic_tag()
        assert process.wait(30) == 0
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["polyvoice: stopped"]


def end_while_asked(process: subprocess.Popen[bytes], url: str, folder: Path) -> httpx.Response:
    """Tell the server to stop while it translates something long; gives what it answers."""
    long, rate_hz = soundfile.read(RECORDINGS[0], dtype="float32")
    soundfile.write(folder / "long.wav", [*long] * 8, rate_hz)
    form = {"target_language": "en", "source_language": "es"}
    files = {"file": (folder / "long.wav").read_bytes()}
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(httpx.post, f"{url}/v1/audio/translations", data=form, files=files, timeout=120)
        while not httpx.get(f"{url}/health").json()["inside"]:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        return asking.result()


@pytest.mark.faults
def test_two_hundred_requests_need_no_more_memory_than_a_hundred(toy_bundle: Path, tmp_path: Path) -> None:
    with serving(toy_bundle, tmp_path / "log") as (_, url):
        press(url, RECORDINGS, "en", clients=8, requests=100, seconds=0, pause_s=0)
        report = press(url, RECORDINGS, "en", clients=8, requests=200, seconds=0, pause_s=0)
        assert (report.answered, report.lost) == (200, [])
        assert report.statuses == {"200": 200}
        assert len(report.memory_mb) >= 2
        # Half a megabyte of growth is the noise of the allocator; one recording kept a request would be sixty.
        assert report.memory_mb[-1] - report.memory_mb[0] < 20


def test_a_short_line_loses_nobody_either(toy_bundle: Path, tmp_path: Path) -> None:
    with serving(toy_bundle, tmp_path / "log", "--waiting", "1") as (_, url):
        report = press(url, RECORDINGS, "en", clients=6, requests=12, seconds=0, pause_s=0)
        assert (report.answered, report.lost) == (12, [])
        assert report.statuses["200"] == 12
        assert report.statuses["429"] > 0
