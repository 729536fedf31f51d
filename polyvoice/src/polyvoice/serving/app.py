"""The HTTP server: one translation at a time, a bounded line of those who wait, and a word for those who cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from polyvoice.errors import INPUT_ERRORS
from polyvoice.pipeline.join import Spoken, lay_pieces
from polyvoice.pipeline.timing import Stopwatch
from polyvoice.provenance import encode_pcm, encode_speech, open_wav_stream
from polyvoice.serving.metrics import CONTENT_TYPE, Metrics
from polyvoice.serving.requests import Order, RefusedError, System, discard_body, read_order
from polyvoice.serving.settings import ServerLimits
from polyvoice.serving.threads import iterate_in_thread
from speechunits.audio import Samples, Waveform

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from polyvoice.pipeline.translator import Piece

_MEDIA_TYPES: Mapping[str, str] = {"wav": "audio/wav", "flac": "audio/flac"}
_CLIENT_GONE = 499  # nginx's number for it; nobody receives it
_RETRY_S = 1

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Model:
    """What is served.

    Attributes:
        name: by which clients ask for it.
        directions: such as `zh-en`.
        system: translates.
    """

    name: str
    directions: tuple[str, ...]
    system: System


class Service:
    """Takes requests for translation, a bounded number at a time; one thread translates them in turn.

    One, because two translations at once would each take twice as long, and everybody would wait for the longer.

    Attributes:
        inside: requests that are translated or wait.
        draining: what is inside is finished, and nothing more is taken.
    """

    def __init__(self, model: Model, limits: ServerLimits) -> None:
        """Nothing is inside yet."""
        self.inside = 0
        self.draining = False
        self._began = int(time.time())
        self._model, self._limits = model, limits
        self._metrics = Metrics(lambda: self.inside)
        self._translating = ThreadPoolExecutor(1, thread_name_prefix="translate")

    def make_app(self, *, loopback: bool) -> Starlette:
        """The application.

        Args:
            loopback: answer only requests to a loopback name, so that no page on the web can reach the server by a name
                of its own that leads to this machine.
        """
        hosts = ["127.0.0.1", "localhost", "[::1]"] if loopback else ["*"]
        return Starlette(
            routes=[
                Route("/v1/audio/translations", self.translate, methods=["POST"]),
                Route("/v1/models", self.list_models),
                Route("/health", self.tell_health),
                Route("/metrics", self.tell_metrics),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
            exception_handlers={RefusedError: _answer_refused, HTTPException: _answer_http, Exception: _answer_fault},
            lifespan=self._live,
        )

    @asynccontextmanager
    async def _live(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._translating.shutdown(cancel_futures=True)

    async def list_models(self, _: Request) -> Response:
        """`GET /v1/models`."""
        model = {"id": self._model.name, "object": "model", "created": self._began, "owned_by": "polyvoice"}
        return JSONResponse({"object": "list", "data": [{**model, "directions": list(self._model.directions)}]})

    async def tell_health(self, _: Request) -> Response:
        """`GET /health`: 200 while requests are taken, 503 afterwards."""
        status = {"status": "stopping" if self.draining else "ok", "inside": self.inside}
        return JSONResponse(status, 503 if self.draining else 200)

    async def tell_metrics(self, _: Request) -> Response:
        """`GET /metrics`, in Prometheus's text format."""
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)

    async def translate(self, request: Request) -> Response:
        """`POST /v1/audio/translations`: a multipart form in, an audio file out, whole or in pieces."""
        visit = _Visit(self, self._metrics, time.monotonic())
        try:
            await self._admit(request)
            visit.enter()
            return await self._answer(request, visit)
        except RefusedError as refused:
            visit.leave(refused.status)
            raise
        except BaseException as error:
            # Who goes while sending is told of by Starlette, who goes while waiting by `_wait`.
            gone = isinstance(error, _ClientGoneError | ClientDisconnect)
            visit.leave(_CLIENT_GONE if gone or isinstance(error, asyncio.CancelledError) else 500)
            if gone:
                return Response(status_code=_CLIENT_GONE)
            raise

    async def _admit(self, request: Request) -> None:
        refused = None
        if self.draining:
            refused = RefusedError(503, "the server is stopping", code="stopping", retry_after_s=_RETRY_S)
        elif self.inside > self._limits.waiting:
            told = f"{self.inside} requests are waiting; come back later"
            refused = RefusedError(429, told, code="queue_full", retry_after_s=_RETRY_S)
        if refused is not None:
            with suppress(TimeoutError):
                await discard_body(request, self._limits)
            raise refused

    async def _answer(self, request: Request, visit: _Visit) -> Response:
        order = await read_order(request, self._model.system, self._model.name, self._limits)
        watch = Stopwatch()
        parts = iterate_in_thread(self._translating, lambda: self._translate(order, watch))
        deadline = visit.began + self._limits.request_timeout_s
        try:
            first = await _wait(_take(parts), request, deadline)
            if first is None:
                told = "no speech in it, or nothing that it could mean"
                raise RefusedError(400, told, param="file", code="no_speech")
            self._metrics.count_first_audio(visit.seconds)
            if order.stream:
                return _PieceStream(self._model.system.rate_hz, order, first, parts, deadline, visit)
            samples = np.concatenate([first, *await _wait(_collect(parts), request, deadline)])
        except INPUT_ERRORS as error:
            raise RefusedError(400, str(error), param="file", code="bad_audio") from error
        spoken = Waveform(samples, self._model.system.rate_hz)
        content = await asyncio.to_thread(encode_speech, spoken, order.file_format)
        visit.leave(200)
        stages = ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in watch.seconds.items())
        headers = {"x-source-language": order.source, "server-timing": stages}
        return Response(content, 200, headers, _MEDIA_TYPES[order.file_format])

    def _translate(self, order: Order, watch: Stopwatch) -> Iterator[Samples]:
        """Translate, in the thread: the parts of the answer, one by one."""

        def spoken() -> Iterator[Spoken]:
            system = self._model.system
            for piece in system.pieces(order.recording, order.source, order.target, seed=order.seed):
                self._count(piece)
                watch.add(piece.seconds)
                yield Spoken(piece.segment, piece.waveform)

        return lay_pieces(spoken(), self._model.system.rate_hz)

    def _count(self, piece: Piece) -> None:
        said_s = 0.0 if piece.waveform is None else piece.waveform.duration_s
        self._metrics.count_piece(piece.segment.duration_s, said_s, piece.seconds)


class _PieceStream(StreamingResponse):
    """An answer whose pieces are sent as they are ready.

    When time is up, or a piece cannot be translated, the body breaks off, which a client sees as an unfinished one.
    """

    def __init__(
        self,
        rate_hz: int,
        order: Order,
        first: Samples,
        parts: AsyncGenerator[Samples, None],
        deadline: float,
        visit: _Visit,
    ) -> None:
        headers = {"x-source-language": order.source}
        super().__init__(self._send_parts(rate_hz, first), 200, headers, _MEDIA_TYPES["wav"])
        self._parts, self._deadline, self._visit = parts, deadline, visit

    async def _send_parts(self, rate_hz: int, first: Samples) -> AsyncIterator[bytes]:
        yield open_wav_stream(rate_hz)
        part: Samples | None = first
        while part is not None:
            yield encode_pcm(part)
            part = await _take(self._parts)
        self._visit.leave(200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # Sending counts too: who reads nothing would keep a place in the line for ever.
            async with asyncio.timeout(self._deadline - time.monotonic()):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            self._visit.leave(504)
        except INPUT_ERRORS:
            self._visit.leave(400)
        except Exception as error:
            self._visit.leave(_CLIENT_GONE if isinstance(error, ClientDisconnect) else 500)
            raise
        finally:
            # Also where the client has gone before the first byte, and the body has never been asked for.
            await self._parts.aclose()
            self._visit.leave(_CLIENT_GONE)


class _ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class _Visit:
    """One request, from its arrival to its end; it is counted once, however it ends."""

    def __init__(self, service: Service, metrics: Metrics, began: float) -> None:
        self._service, self._metrics = service, metrics
        self.began = began
        self._is_inside = self._is_over = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def enter(self) -> None:
        self._service.inside += 1
        self._is_inside = True

    def leave(self, status: int) -> None:
        if not self._is_over:
            self._is_over = True
            self._service.inside -= self._is_inside
            self._metrics.count_request(status, self.seconds)


async def _wait(answer: Awaitable[Result], request: Request, deadline: float) -> Result:
    """Wait until there is an answer, the client has gone, or time is up."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(_notice_disconnect(request))
    try:
        timeout_s = max(0.0, deadline - time.monotonic())
        await asyncio.wait({answering, leaving}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        if leaving.done():
            raise _ClientGoneError
        raise RefusedError(504, "the translation took too long", code="timeout")
    finally:
        for task in (answering, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _notice_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _take(parts: AsyncIterator[Samples]) -> Samples | None:
    return await anext(parts, None)


async def _collect(parts: AsyncIterator[Samples]) -> list[Samples]:
    return [part async for part in parts]


async def _answer_refused(_: Request, error: Exception) -> Response:
    refused = error if isinstance(error, RefusedError) else RefusedError(500, "this is a fault of the server")
    headers = {"retry-after": str(refused.retry_after_s)} if refused.retry_after_s else {}
    return JSONResponse(refused.as_json(), refused.status, headers)


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the router refuses: unknown paths and methods."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return await _answer_refused(request, RefusedError(status, f"{request.method} {request.url.path}: {detail}"))


async def _answer_fault(request: Request, error: Exception) -> Response:
    """What nobody thought of: the log has the traceback, the client has one line."""
    return await _answer_refused(request, error)
