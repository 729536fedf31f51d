"""A client of OpenAI-compatible chat servers: cache, bounded concurrency, retries, account."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from molregpt.backends.account import Account
from molregpt.backends.cache import ReplyCache, encode_canonical, request_key
from molregpt.backends.options import DEFAULT_KEY_VARIABLE, ServerOptions
from molregpt.backends.protocol import BackendError
from molregpt.backends.retry import LONGEST_RETRY_AFTER_S, backoff_delay_s, is_transient, parse_retry_after
from molregpt.errors import InputError
from molregpt.prompts import count_message_tokens, estimate_tokens
from molregpt.records import Reply, Usage

if TYPE_CHECKING:
    from unitlm.task import Message

ROUTE = "/chat/completions"
_UNKNOWN_COMPLETION_TOKENS = 4_096
"""What a request may cost at worst where `max_tokens` is left to the server."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Completion:
    """What the server's body says.

    Attributes:
        text: What the model wrote; empty when it wrote nothing.
        problem: Why there is no message in the body, in one line; empty when there is one.
        finish_reason: Why the model stopped, as the server says.
        prompt_tokens: Tokens sent, as the server counts them; 0 when it does not say.
        completion_tokens: Tokens received, likewise.
    """

    text: str = ""
    problem: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def parse_endpoint(url: str) -> str:
    """The URL of the chat completions route, from whatever form of base URL the user gave.

    `http://host:8000`, `http://host:8000/v1` and `http://host:8000/v1/chat/completions` are the same endpoint.

    Raises:
        InputError: Not an http(s) URL with a host, or one that holds a password, a query or a fragment.
    """
    try:
        parsed = httpx.URL(url.strip())
        host = parsed.host  # decoded only now
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError(f"server URL cannot be read: {error}") from None
    if parsed.userinfo:
        # Not repeated in the message: it would put the password into logs.
        raise InputError("server URL holds a user name or password; keys come from an environment variable")
    if parsed.scheme not in ("http", "https") or not host:
        raise InputError(f"server URL {url!r} must be http://host... or https://host...")
    if parsed.query or parsed.fragment:
        raise InputError(f"server URL {parsed.copy_with(query=None, fragment=None)} must have no query and no fragment")
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise InputError(f"server URL {url!r}: there is no port {parsed.port}")
    path = parsed.path.rstrip("/").removesuffix(ROUTE) or "/v1"
    return str(parsed.copy_with(path=path + ROUTE))


def is_loopback(endpoint: str) -> bool:
    """Whether `endpoint` is on this machine."""
    host = httpx.URL(endpoint).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_trusted(endpoint: str) -> bool:
    """Whether a key may be sent to `endpoint` unasked: over https, or to this machine."""
    return endpoint.startswith("https://") or is_loopback(endpoint)


def parse_completion(body: str) -> Completion:
    """Read the body of a chat completion; a body without a message gives a completion with a `problem`."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return Completion(problem="the server's reply is not JSON")
    if not isinstance(parsed, dict):
        return Completion(problem="the server's reply is not a JSON object")
    usage = parsed.get("usage")
    counts = (_read_count(usage, "prompt_tokens"), _read_count(usage, "completion_tokens"))
    choices = parsed.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Completion("", "the server's reply holds no choices", "", *counts)
    message = choices[0].get("message")
    content = message.get("content") if isinstance(message, dict) else 0
    # A null content is a message all the same: the model wrote nothing, or spent its tokens on hidden thoughts.
    if not (content is None or isinstance(content, str)):
        return Completion("", "the server's reply holds no message", "", *counts)
    return Completion(content or "", "", str(choices[0].get("finish_reason") or ""), *counts)


def _read_count(usage: object, name: str) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


class ChatClient:
    """Sends messages to one model of one server.

    Use it within one event loop, and close it.

    Args:
        url: The server, see `parse_endpoint`.
        options: How it is asked.
        sleep: Waits; replaced in tests.
        generator: Gives the jitter of retries; it has no part in answers.

    Raises:
        InputError: The URL, the options or the cache file cannot be used.
    """

    def __init__(
        self,
        url: str,
        options: ServerOptions,
        *,
        sleep: Sleep = asyncio.sleep,
        generator: random.Random | None = None,
    ) -> None:
        if not options.model:
            raise InputError(f"a server needs the name of a model, and none is given for {url!r}")
        self.endpoint = parse_endpoint(url)
        self.options = options
        self.account = Account(options.prices, options.budget)
        self._key = options.read_key(trusted=is_trusted(self.endpoint))
        self._sleep = sleep
        self._generator = generator or random.Random()  # noqa: S311 - jitter, not secrets
        self._slots = asyncio.Semaphore(options.concurrency)
        self._cache = ReplyCache(options.cache) if options.cache is not None else None
        self._http = httpx.AsyncClient(
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=httpx.Timeout(options.timeout_s),
            # Proxies of the environment are for the world outside; they cannot reach this machine's own servers.
            trust_env=not is_loopback(self.endpoint),
            # The semaphore alone bounds requests: waiting in httpx's pool would count against the time limit.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=options.concurrency),
        )

    async def complete(self, messages: Sequence[Message], schema: Mapping[str, object] | None = None) -> Reply:
        """Ask for one completion.

        Args:
            messages: The conversation.
            schema: JSON schema of the answer, for servers that are asked to keep to one.

        Returns:
            The reply; its `problem` is set when the server answered with status 200 but without a message.

        Raises:
            InputError: The messages are not valid Unicode.
            BudgetError: The budget does not cover this request.
            BackendError: The server refused the request, or failed more often than it may be retried.
        """
        body = self._build_body(messages, schema)
        stored = self._recall(body)
        if stored is not None:
            usage = Usage(cached=1)
            self.account.record(usage)
            return Reply(self._redact(stored.text), finish_reason=stored.finish_reason, usage=usage)
        worst_completion = self.options.max_tokens or _UNKNOWN_COMPLETION_TOKENS
        sent = count_message_tokens(messages, estimate_tokens)
        async with (
            self._slots,
            self.account.admit(sent, worst_completion),
        ):
            received, responses = await self._post(body)
            response = self._redact(received)
            if self._cache is not None:
                self._cache.append(self.endpoint, self.options.model, body, response)
            completion = parse_completion(response)
            # A server that does not count is charged all the same: else no budget would ever be spent.
            counts = (
                completion.prompt_tokens or sent,
                completion.completion_tokens or estimate_tokens(completion.text),
            )
            usage = Usage(responses, 0, *counts, self.options.prices.cost(*counts))
            self.account.record(usage)
        # Another process may have stored a reply to the same request first: then that one counts for both.
        completion = self._recall(body) or completion
        # Redacted once more: JSON may have spelled the key with escapes.
        return Reply(self._redact(completion.text), completion.problem, completion.finish_reason, usage)

    async def close(self) -> None:
        """Close the connections and the cache."""
        await self._http.aclose()
        if self._cache is not None:
            self._cache.close()

    def _build_body(self, messages: Sequence[Message], schema: Mapping[str, object] | None) -> str:
        """The request body as canonical JSON: what is sent is, byte for byte, what the cache knows it by."""
        options = self.options
        request: dict[str, object] = {
            "model": options.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
        }
        for name in ("temperature", "max_tokens", "seed"):
            if (value := getattr(options, name)) is not None:
                request[name] = value
        if schema is not None and options.response_format == "json_schema":
            strict = {"name": "answer", "schema": {**schema, "additionalProperties": False}}
            request["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif schema is not None and options.response_format == "json_object":
            request["response_format"] = {"type": "json_object"}
        body = encode_canonical(request | options.extra_fields())
        try:
            body.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the prompt is not valid Unicode: {error.reason} at character {error.start}") from None
        return body

    def _recall(self, body: str) -> Completion | None:
        """The first readable reply to `body` in the cache."""
        if self._cache is None:
            return None
        for response in self._cache.read(request_key(self.endpoint, body)):
            completion = parse_completion(response)
            if not completion.problem:
                return completion
        return None

    async def _post(self, body: str) -> tuple[str, int]:
        """Send a request until it succeeds: the raw body, and how many times the server responded."""
        responses = 0
        for retry in range(self.options.retries + 1):
            wait: float | None = None
            try:
                # httpx limits each read; a server that drips one byte at a time is stopped by the limit of the whole.
                async with asyncio.timeout(self.options.timeout_s):
                    response = await self._http.post(self.endpoint, content=body.encode())
            except (TimeoutError, httpx.TimeoutException):
                failure = f"no complete reply within {self.options.timeout_s:g} s"
            except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
                failure = f"connection failed: {self._redact(str(error)) or type(error).__name__}"
            except httpx.HTTPError as error:
                raise BackendError(f"{self.endpoint}: {self._redact(str(error)) or type(error).__name__}") from None
            else:
                responses += 1
                if response.status_code == 200:
                    return response.text, responses
                failure = self._describe_failure(response)
                if not is_transient(response.status_code):
                    raise BackendError(f"{self.endpoint}: {failure}")
                wait = parse_retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
            if retry == self.options.retries:
                break
            if wait is not None and wait > LONGEST_RETRY_AFTER_S:
                raise BackendError(f"{self.endpoint}: {failure}; it asks to wait {wait:.0f} s")
            await self._sleep(backoff_delay_s(retry, self._generator) if wait is None else wait)
        raise BackendError(f"{self.endpoint}: {failure}; given up after {self.options.retries + 1} attempts")

    def _describe_failure(self, response: httpx.Response) -> str:
        status = response.status_code
        if status in (401, 403):
            # The body is left out: servers repeat parts of the key in it.
            variable = self.options.api_key_env or DEFAULT_KEY_VARIABLE
            sent = f"the API key of {variable}" if self._key else f"a request without an API key (none in {variable})"
            return f"the server refused {sent} (status {status})"
        try:
            body = response.json()
            error = body.get("error", body) if isinstance(body, dict) else body
            detail = error.get("message", error) if isinstance(error, dict) else error
        except (ValueError, RecursionError):
            detail = response.text
        detail_line = " ".join(self._redact(str(detail)).split())[:300]
        return f"the server answered with status {status}" + (f": {detail_line}" if detail_line else "")

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
