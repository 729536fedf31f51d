"""From the parts of a form to a checked request, and from what is wrong with it to an error in OpenAI's shape."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import speechunits.errors
from polyvoice.errors import InputError
from polyvoice.provenance import FORMATS, Format
from polyvoice.serving.uploads import TooLongError, read_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.datastructures import FormData, UploadFile
    from starlette.requests import Request
    from starlette.types import Message

    from polyvoice.pipeline.translator import Piece
    from polyvoice.serving.settings import ServerLimits
    from speechunits.audio import Waveform

_FIELDS = ("file", "model", "source_language", "target_language", "response_format", "stream", "seed")
_LONGEST_FIELD_BYTES = 4096
_MODEL_ALIAS = "polyvoice"


class System(Protocol):
    """What translates: a `polyvoice.pipeline.translator.SpeechTranslator`."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of what is said."""

    def source_of(self, target: str, source: str | None = None) -> str:
        """The language to translate from."""

    def pieces(self, waveform: Waveform, source: str, target: str, *, seed: int = 0) -> Iterator[Piece]:
        """Translate piece by piece."""


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        message: one line.
        param: the field that is at fault.
        code: what programs read.
        retry_after_s: when to come back.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, " ".join(message.split()), param, code
        self.retry_after_s = retry_after_s

    def as_json(self) -> dict[str, dict[str, str | None]]:
        """The body, as OpenAI's own servers write it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """A request for translation that can be worked on."""

    recording: Waveform
    source: str
    target: str
    file_format: Format
    stream: bool
    seed: int


async def read_order(request: Request, system: System, model: str, limits: ServerLimits) -> Order:
    """Read and check a request.

    Raises:
        RefusedError: it is too large, too slow, malformed, or asks for what there is not.
    """
    from starlette.exceptions import HTTPException

    try:
        async with asyncio.timeout(limits.upload_timeout_s):
            form = await _limit_body(request, limits).form(
                max_files=1, max_fields=len(_FIELDS), max_part_size=_LONGEST_FIELD_BYTES
            )
    except TimeoutError:
        told = f"the request did not arrive within {limits.upload_timeout_s:g} s"
        raise RefusedError(408, told, code="upload_timeout") from None
    except HTTPException as error:
        raise RefusedError(400, f"not a multipart form: {error.detail}") from None
    try:
        return await _check_form(form, system, model, limits)
    finally:
        await form.close()


async def discard_body(request: Request, limits: ServerLimits) -> None:
    """Take in a request that is refused: a client that is still sending would not read why."""
    limited = _limit_body(request, limits)
    async with asyncio.timeout(limits.upload_timeout_s):
        async for _ in limited.stream():
            pass


def _limit_body(request: Request, limits: ServerLimits) -> Request:
    from starlette.requests import Request

    most = limits.largest_upload_bytes
    told = RefusedError(413, f"the request is larger than {limits.largest_upload_mb:g} MB", code="too_large")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise told
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most:
            raise told
        return message

    return Request(request.scope, receive)


async def _check_form(form: FormData, system: System, model: str, limits: ServerLimits) -> Order:
    for name in form:
        if name not in _FIELDS:
            raise RefusedError(400, f"there is no field {name!r}; there are {', '.join(_FIELDS)}", param=name)
    if (asked := _text(form, "model") or model) not in (model, _MODEL_ALIAS):
        raise RefusedError(
            404, f"there is no model {asked!r} here but {model!r}", param="model", code="model_not_found"
        )
    file_format = _text(form, "response_format") or "wav"
    if file_format not in FORMATS:
        told = f"response_format is {' or '.join(FORMATS)}, not {file_format!r}"
        raise RefusedError(400, told, param="response_format")
    stream = _text(form, "stream") or "false"
    if stream not in ("true", "false"):
        raise RefusedError(400, f"stream is true or false, not {stream!r}", param="stream")
    if stream == "true" and file_format != "wav":
        raise RefusedError(400, f"only wav can be streamed, not {file_format}", param="response_format")
    seed = _text(form, "seed") or "0"
    if not (seed.isdecimal() and seed.isascii() and len(seed) < 10):
        raise RefusedError(400, f"seed is a whole number of at most nine digits, not {seed!r}", param="seed")
    target = _text(form, "target_language")
    if not target:
        raise RefusedError(400, "target_language is missing", param="target_language")
    try:
        source = system.source_of(target, _text(form, "source_language") or None)
    except InputError as error:
        # The system's message names the option of the command line; here it is a field.
        raise RefusedError(400, str(error).replace("--from", "source_language"), param="target_language") from error
    upload = form.get("file")
    if upload is None or isinstance(upload, str):
        raise RefusedError(400, "file is missing", param="file")
    try:
        recording = await asyncio.to_thread(_read_file, upload, limits.longest_recording_s)
    except TooLongError as error:
        raise RefusedError(413, str(error), param="file", code="too_long") from error
    except (InputError, speechunits.errors.InputError) as error:
        raise RefusedError(400, str(error), param="file", code="bad_audio") from error
    return Order(recording, source, target, file_format, stream == "true", int(seed))


def _text(form: FormData, name: str) -> str:
    values = form.getlist(name)
    if len(values) > 1 or not all(isinstance(value, str) for value in values):
        raise RefusedError(400, f"{name} is one text", param=name)
    return str(values[0]).strip() if values else ""


def _read_file(upload: UploadFile, longest_s: float) -> Waveform:
    with tempfile.NamedTemporaryFile(prefix="polyvoice-") as copy:
        while block := upload.file.read(2**20):
            copy.write(block)
        copy.flush()
        try:
            return read_upload(Path(copy.name), longest_s)
        except speechunits.errors.InputError as error:
            # Where it lay for a moment is nobody's business.
            raise InputError(str(error).removeprefix(f"{copy.name}: ")) from error
