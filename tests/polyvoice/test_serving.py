"""The HTTP server with a system that does as it is told: what it answers, what it refuses, how it stops."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn

from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.pipeline.join import Spoken, join_pieces
from polyvoice.pipeline.translator import Piece
from polyvoice.provenance import encode_speech, read_comment, synthetic_tag
from polyvoice.serving.address import Address
from polyvoice.serving.app import Model, Service
from polyvoice.serving.run import DrainingServer
from polyvoice.serving.settings import ServerLimits
from polyvoice.serving.threads import iterate_in_thread
from polyvoice.serving.uploads import TooLongError, read_upload
from polyvoice.stages.translate.decoding import Translation
from speechunits.audio import Waveform
from speechunits.runs import Runs
from speechunits.segments import Segment

RATE_HZ = 8000


class Scripted:
    """Says the recording again, a second a piece; after `hold` it waits until `allow` for each piece."""

    rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.pieces_made = 0
        self.hold()
        self.allow()

    def hold(self) -> None:
        self._allowed = threading.Semaphore(0)

    def allow(self, pieces: int = 1000) -> None:
        self._allowed.release(pieces)

    def source_of(self, target: str, source: str | None = None) -> str:
        if target != "en":
            raise InputError(f"the bundle does not translate to {target!r}; say which (--from)")
        return source or "zh"

    def pieces(self, waveform: Waveform, source: str, target: str, *, seed: int = 0) -> Iterator[Piece]:
        if seed == 13:
            raise RuntimeError("the thirteenth seed")
        for number in range(int(waveform.duration_s)):
            assert self._allowed.acquire(timeout=20)
            if seed == 7 and number:
                raise InputError("0.003 s of speech are shorter than one frame of the encoder")
            self.pieces_made += 1
            part = Waveform(waveform.samples[number * RATE_HZ : (number + 1) * RATE_HZ], RATE_HZ)
            empty = np.empty(0, np.int64)
            said = Translation(empty, None, None, 0.0, 0.0, True)
            yield Piece(
                Segment(number, number + 0.9), Runs(empty, empty), said, Runs(empty, empty), part, {"encode": 0.25}
            )


class Running:
    """A server on a port of its own."""

    def __init__(self, system: Scripted, limits: ServerLimits, *, loopback: bool = True) -> None:
        self.service = Service(Model("toy", ("zh-en",), system), limits)
        config = uvicorn.Config(self.service.make_app(loopback=loopback), log_level="critical", access_log=False)
        self.server = DrainingServer(config, self.service)
        listener = Address(port=0).listen()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve(sockets=[listener])))
        self.thread.start()

    def post(self, content: bytes | None = None, **fields: str) -> httpx.Response:
        form = {"target_language": "en", **fields}
        files = {"file": ("a.wav", recording() if content is None else content)}
        return httpx.post(f"{self.url}/v1/audio/translations", data=form, files=files, timeout=30)

    def stream(self, **fields: str) -> AbstractContextManager[httpx.Response]:
        form = {"target_language": "en", "stream": "true", **fields}
        files = {"file": ("a.wav", recording())}
        return httpx.stream("POST", f"{self.url}/v1/audio/translations", data=form, files=files)

    def stop(self) -> None:
        self.server.handle_exit(15, None)
        self.thread.join(30)
        assert not self.thread.is_alive()


def sound(seconds: float = 3.0) -> Waveform:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE_HZ)).astype(np.float32)
    return Waveform(samples, RATE_HZ)


def recording(seconds: float = 3.0) -> bytes:
    return encode_speech(sound(seconds), "wav", "")


def metric(server: Running, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.fixture
def system() -> Scripted:
    return Scripted()


@pytest.fixture
def server(system: Scripted) -> Iterator[Running]:
    running = Running(
        system, ServerLimits(waiting=2, longest_recording_s=6, largest_upload_mb=0.2, request_timeout_s=30)
    )
    yield running
    system.allow()
    running.stop()


def until(true: object) -> None:
    """Wait until a condition, given as a function, holds."""
    assert callable(true)
    for _ in range(400):
        if true():
            return
        time.sleep(0.02)
    pytest.fail("it did not come to that")


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_speech_goes_in_and_tagged_speech_comes_out(server: Running, file_format: str, tmp_path: Path) -> None:
    answer = server.post(response_format=file_format, model="polyvoice", seed="3")
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"audio/{file_format}")
    assert answer.headers["x-source-language"] == "zh"
    assert answer.headers["server-timing"] == "encode;dur=750.0"
    (tmp_path / "answer").write_bytes(answer.content)
    assert read_comment(tmp_path / "answer") == synthetic_tag()
    said, rate_hz = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    heard = sound().samples
    parts = [Waveform(heard[n * RATE_HZ : (n + 1) * RATE_HZ], RATE_HZ) for n in range(3)]
    expected = join_pieces([Spoken(Segment(n, n + 0.9), part) for n, part in enumerate(parts)], RATE_HZ)
    assert expected is not None
    assert rate_hz == RATE_HZ
    assert said == pytest.approx(expected.samples, abs=2 / 2**15)


def test_pieces_are_sent_as_they_are_ready(server: Running, system: Scripted) -> None:
    whole = server.post().content
    system.hold()
    system.allow(1)
    with server.stream() as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        parts = answer.iter_raw()
        got = b""
        while len(got) < 2 * RATE_HZ:  # the head and the first piece
            got += next(parts)
        assert system.pieces_made == 3 + 1
        system.allow()
        got += b"".join(parts)
    samples, _ = soundfile.read(io.BytesIO(got))
    expected, _ = soundfile.read(io.BytesIO(whole))
    assert np.array_equal(samples, expected)


@pytest.mark.parametrize(
    ("fields", "status", "param", "told"),
    [
        ({"target_language": "fr"}, 400, "target_language", "does not translate to 'fr'; say which (source_language)"),
        ({"target_language": ""}, 400, "target_language", "target_language is missing"),
        ({"response_format": "mp3"}, 400, "response_format", "wav or flac, not 'mp3'"),
        ({"stream": "true", "response_format": "flac"}, 400, "response_format", "only wav can be streamed"),
        ({"stream": "yes"}, 400, "stream", "true or false"),
        ({"seed": "-1"}, 400, "seed", "a whole number"),
        ({"model": "gpt-4o"}, 404, "model", "there is no model 'gpt-4o' here but 'toy'"),
        ({"voice": "alloy"}, 400, "voice", "there is no field 'voice'"),
        ({"seed": "7"}, 400, "file", "shorter than one frame"),
    ],
)
def test_what_cannot_be_done_is_said_in_openai_s_shape(
    server: Running, fields: dict[str, str], status: int, param: str, told: str
) -> None:
    answer = server.post(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (status, "invalid_request_error", param)
    assert told in error["message"]
    assert "\n" not in error["message"]


def test_bad_recordings_are_refused_and_their_place_on_the_disk_is_not_told(server: Running) -> None:
    cases = [(b"no sound at all", 400), (b"", 400), (recording()[:30], 400), (recording(0.5), 400), (recording(7), 413)]
    for content, status in cases:
        answer = server.post(content)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["param"] == "file"
        assert "/" not in answer.json()["error"]["message"]
    assert server.post(recording()).status_code == 200


def test_large_requests_are_refused_whether_they_say_so_or_not(server: Running) -> None:
    large = server.post(bytes(300_000))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")

    def drip() -> Iterator[bytes]:
        yield from [b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n', *[bytes(50_000)] * 6]

    kind = {"content-type": "multipart/form-data; boundary=x"}
    silent = httpx.post(f"{server.url}/v1/audio/translations", content=drip(), headers=kind)
    assert silent.status_code == 413
    broken = httpx.post(f"{server.url}/v1/audio/translations", content=b"--y", headers=kind)
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok", "inside": 0}


def test_a_slow_upload_is_not_waited_for(system: Scripted) -> None:
    server = Running(system, ServerLimits(upload_timeout_s=0.2))
    try:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = "POST /v1/audio/translations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
            client.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 408")
    finally:
        server.stop()


def test_who_leaves_while_sending_is_no_fault_of_ours(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = "POST /v1/audio/translations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
        client.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        until(lambda: server.service.inside == 1)
    until(lambda: server.service.inside == 0)
    assert metric(server, 'polyvoice_requests_total{status="499"}') == 1
    assert metric(server, 'polyvoice_requests_total{status="500"}') == 0


def test_who_reads_nothing_loses_the_place_in_the_line() -> None:
    class Endless(Scripted):
        def pieces(self, waveform: Waveform, source: str, target: str, *, seed: int = 0) -> Iterator[Piece]:
            [piece] = super().pieces(Waveform(waveform.samples[:RATE_HZ], RATE_HZ), source, target, seed=seed)
            while True:  # more than the buffers between two sockets can hold
                yield replace(piece, waveform=sound(60.0))

    system = Endless()
    server = Running(system, ServerLimits(waiting=0, request_timeout_s=1.5))
    try:
        with server.stream() as answer:
            assert answer.status_code == 200
            until(lambda: metric(server, 'polyvoice_requests_total{status="504"}') == 1)
            assert server.service.inside == 0
    finally:
        server.stop()


def test_a_small_file_may_hold_hours(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hours.flac", np.zeros(3600 * 8000, np.float32), 8000)
    assert (tmp_path / "hours.flac").stat().st_size < 200_000
    with pytest.raises(TooLongError, match="longer than 300 s"):
        read_upload(tmp_path / "hours.flac", 300)
    soundfile.write(tmp_path / "sharp.wav", np.zeros(400_000, np.float32), 400_000)
    assert read_upload(tmp_path / "sharp.wav", 300).rate_hz == 48_000


def test_who_finds_the_line_full_is_told_to_come_back_and_nobody_is_lost(server: Running, system: Scripted) -> None:
    system.hold()
    with ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(server.post) for _ in range(3)]
        until(lambda: server.service.inside == 3)
        full = server.post()
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert full.json()["error"]["code"] == "queue_full"
        assert metric(server, "polyvoice_requests_inside") == 3
        system.allow()
        assert [answer.result().status_code for answer in waiting] == [200] * 3
    assert metric(server, 'polyvoice_requests_total{status="200"}') == 3
    assert metric(server, 'polyvoice_requests_total{status="429"}') == 1
    assert metric(server, "polyvoice_request_seconds_count") == 4
    assert metric(server, 'polyvoice_stage_seconds_total{stage="encode"}') == 9 * 0.25
    assert metric(server, "polyvoice_output_audio_seconds_total") == 9
    assert metric(server, "process_resident_memory_bytes") > 1e6


def test_an_answer_that_takes_too_long_is_given_up(system: Scripted) -> None:
    server = Running(system, ServerLimits(request_timeout_s=0.5))
    try:
        system.hold()
        late = server.post()
        assert (late.status_code, late.json()["error"]["type"]) == (504, "server_error")
        system.allow()
        # What was given up has stopped at its next piece, and the server goes on.
        assert server.post().status_code == 200
        assert system.pieces_made == 1 + 3
        until(lambda: server.service.inside == 0)
    finally:
        system.allow()
        server.stop()


@pytest.mark.parametrize(("fields", "allowed", "status"), [({}, 1, 504), ({"seed": "7"}, 3, 400)])
def test_a_stream_that_fails_on_the_way_breaks_off(
    system: Scripted, fields: dict[str, str], allowed: int, status: int
) -> None:
    server = Running(system, ServerLimits(request_timeout_s=1.0))
    try:
        system.hold()
        system.allow(allowed)
        with server.stream(**fields) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        until(lambda: server.service.inside == 0)
        assert metric(server, f'polyvoice_requests_total{{status="{status}"}}') == 1
    finally:
        system.allow()
        server.stop()


def test_a_client_that_goes_away_is_not_worked_for(server: Running, system: Scripted) -> None:
    system.hold()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/v1/audio/translations",
            data={"target_language": "en"},
            files={"file": ("a.wav", recording())},
            timeout=0.3,
        )
    until(lambda: server.service.inside == 0)
    system.allow()
    assert server.post().status_code == 200
    assert system.pieces_made == 1 + 3
    assert metric(server, 'polyvoice_requests_total{status="499"}') == 1


def test_a_fault_is_ours_and_the_server_goes_on(server: Running) -> None:
    answer = server.post(seed="13")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "thirteenth" not in answer.text
    assert server.post().status_code == 200


def test_a_stopping_server_finishes_what_it_has_and_takes_nothing_more(system: Scripted) -> None:
    server = Running(system, ServerLimits())
    system.hold()
    with ThreadPoolExecutor(4) as clients:
        inside = [clients.submit(server.post) for _ in range(2)]
        until(lambda: server.service.inside == 2)
        server.server.handle_exit(15, None)
        late = server.post()
        assert (late.status_code, late.json()["error"]["code"]) == (503, "stopping")
        assert httpx.get(f"{server.url}/health").status_code == 503
        system.allow()
        assert [answer.result().status_code for answer in inside] == [200, 200]
    server.thread.join(30)
    assert not server.thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")


def test_models_are_listed_and_other_names_of_this_machine_are_refused(server: Running) -> None:
    [model] = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert (model["id"], model["object"], model["directions"]) == ("toy", "model", ["zh-en"])
    unknown = httpx.get(f"{server.url}/v1/other")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")
    assert httpx.get(f"{server.url}/v1/audio/translations").status_code == 405
    rebound = httpx.get(f"{server.url}/health", headers={"host": "pages.example"})
    assert rebound.status_code == 400
    assert httpx.get(f"{server.url}/health", headers={"host": "[::1]:8000"}).status_code == 200


def test_an_iterator_that_nobody_listens_to_stops() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            time.sleep(0.01)
            yield number

    async def listen_twice() -> list[int]:
        with ThreadPoolExecutor(1) as executor:
            values = iterate_in_thread(executor, count)
            heard = [await anext(values), await anext(values)]
            await values.aclose()
        return heard

    assert asyncio.run(listen_twice()) == [0, 1]
    assert len(made) < 50


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "70000"], "port must be 0 to 65535"),
        (["--waiting", "-1"], "waiting must not be negative"),
        (["--request-timeout-s", "0"], "request_timeout_s must be above 0"),
        (["--bundle", "nowhere"], "nowhere: not a bundle"),
    ],
)
def test_the_command_refuses_what_makes_no_server(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *options]) == 2
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_told() -> None:
    with Address(port=0).listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            Address(port=port).listen()


@pytest.mark.parametrize(
    ("command", "module", "lacking", "told"),
    [
        ("serve", "polyvoice.serving.run", "uvicorn", "serving needs uvicorn: pip install 'polyvoice-s2st[serve]'"),
        ("web", "polyvoice.web.page", "gradio", "the page needs gradio: pip install 'polyvoice-s2st[web]'"),
    ],
)
def test_a_missing_extra_is_one_line(
    command: str,
    module: str,
    lacking: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, lacking, None)
    assert run([command]) == 2
    assert capsys.readouterr().err == f"polyvoice: {told}\n"
