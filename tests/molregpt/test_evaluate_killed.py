"""A real process, killed without warning at random moments, ends where an undisturbed one ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from molregpt.data.shipped import sample_pairs

PAIRS = sample_pairs()[:40]
TEST, POOL = PAIRS[:25], PAIRS[25:]


class EchoServer:
    """Answers each question with words that depend on it alone, slowly, and notes every question."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                query = json.loads(request["messages"][-1]["content"])["smiles"]
                server.asked.append(query)
                time.sleep(server.delay_s)
                said = {"role": "assistant", "content": json.dumps({"caption": f"The molecule is {query}."})}
                body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": said}]}).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the asker was killed

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def echo_server() -> Iterator[EchoServer]:
    server = EchoServer(delay_s=0.1)
    yield server
    server.close()


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, pairs in (("test", TEST), ("pool", POOL)):
        lines = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in pairs]
        (tmp_path / f"{name}.tsv").write_text("CID\tSMILES\tdescription\n" + "".join(lines))
    return tmp_path


def _start(tables: Path, out: Path, url: str) -> subprocess.Popen[str]:
    arguments = ["evaluate", "mol2cap", "--test", "test.tsv", "--pool", "pool.tsv", "--out", str(out)]
    arguments += ["--backend", url, "--model", "echo", "--concurrency", "3"]
    environment = os.environ | {"MOLREGPT_CACHE": str(tables / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "molregpt", *arguments],
        cwd=tables,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def _kept(out: Path) -> list[str]:
    """Queries of the whole lines of a journal."""
    content = (out / "rows.jsonl").read_bytes() if (out / "rows.jsonl").exists() else b""
    return [json.loads(line)["query"] for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _check_asked(server: EchoServer, kept: list[str]) -> None:
    """Only rows that were not kept were asked, each once."""
    assert set(server.asked) <= {pair.smiles for pair in TEST} - set(kept)
    assert len(server.asked) == len(set(server.asked))


def _without_usage(path: Path) -> list[object]:
    """The file's JSON lines without what answers cost: a reply out of the cache costs no request."""
    text = path.read_text(encoding="utf-8")
    values = [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    for value in values:
        value.pop("usage", None)
        value.get("answer", {}).pop("usage", None)
    return values


def _wait_for_rows(process: subprocess.Popen[str], out: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(_kept(out)) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def test_kill_9_loses_no_row_and_asks_none_twice(tables: Path, echo_server: EchoServer) -> None:
    whole, out = tables / "whole", tables / "killed"
    _finish(_start(tables, whole, echo_server.url))
    assert sorted(echo_server.asked) == sorted(pair.smiles for pair in TEST)

    chance = random.Random(20)
    goal = 0
    for _ in range(2):
        goal += chance.randint(3, 9)
        kept = _kept(out)
        echo_server.asked.clear()
        process = _start(tables, out, echo_server.url)
        _wait_for_rows(process, out, goal)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert set(kept) <= set(_kept(out))
        assert not set(kept) & set(echo_server.asked)

    # the worst place to die: in the middle of a line
    torn = (out / "rows.jsonl").read_bytes()
    (out / "rows.jsonl").write_bytes(torn + b'{"position": 3, "key": "tor')
    kept = _kept(out)
    assert goal <= len(kept) < len(TEST)
    echo_server.asked.clear()
    _finish(_start(tables, out, echo_server.url))
    # a reply that came just before a kill is in the cache, though its row was not written
    _check_asked(echo_server, kept)
    assert (out / "config.json").read_bytes() == (whole / "config.json").read_bytes()
    for name in ("scores.json", "rows.jsonl"):
        assert _without_usage(out / name) == _without_usage(whole / name), name


def test_ctrl_c_ends_a_run_in_one_line_and_it_goes_on_later(tables: Path, echo_server: EchoServer) -> None:
    out = tables / "interrupted"
    echo_server.delay_s = 1.0  # long enough that the run cannot end before the signal comes
    process = _start(tables, out, echo_server.url)
    _wait_for_rows(process, out, 4)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert errors.rstrip().endswith("molregpt: interrupted")
    assert "Traceback" not in errors
    kept = _kept(out)
    assert len(kept) >= 4
    echo_server.asked.clear()
    echo_server.delay_s = 0.0
    _finish(_start(tables, out, echo_server.url))
    _check_asked(echo_server, kept)
