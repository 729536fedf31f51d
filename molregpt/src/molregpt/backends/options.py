"""Settings of the back ends: frozen, checked when made, light to import."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal

from molregpt.errors import InputError
from molregpt.prompts import PromptOptions

ResponseFormat = Literal["none", "json_object", "json_schema"]

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"

_RESERVED_FIELDS = frozenset(
    {"model", "messages", "temperature", "max_tokens", "seed", "response_format", "stream", "n"}
)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_key(key: str, variable: str) -> str:
    # Typographic quotes come along when a key is copied from a page. The key is not repeated: it would end up in logs.
    if not key.isascii() or not key.isprintable():
        raise InputError(f"the API key in {variable} has characters that no key has, such as quotation marks of print")
    return key


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in the user's currency.

    Attributes:
        prompt_price: Price of a million tokens sent.
        completion_price: Price of a million tokens received.
    """

    prompt_price: float = 0.0
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.prompt_price < inf and 0 <= self.completion_price < inf):
            raise InputError(
                f"prices must be numbers and not negative, got {self.prompt_price} and {self.completion_price}"
            )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of one exchange."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1_000_000


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How an OpenAI-compatible server is asked.

    Attributes:
        model: The model's name as the server knows it.
        temperature: Sampling temperature; None leaves it to the server.
        max_tokens: Longest answer, in tokens; None leaves it to the server.
        seed: Sampling seed, for servers that take one.
        response_format: Ask the server itself for JSON; not every server knows this.
        extra_json: One JSON object of further request fields, e.g. `{"top_p": 0.9}`.
        api_key_env: Name of the environment variable that holds the key. Without it, OPENAI_API_KEY is used where
            it is set, and is sent only over https or to this machine.
        timeout_s: Seconds that one request may take in all, from connecting to the last byte.
        concurrency: Most requests in flight at once.
        retries: Times a request is sent again after a 429, a 5xx, a timeout or a broken connection.
        cache: File of the reply cache; None keeps none.
        prices: What tokens cost.
        budget: Most money to spend, in the currency of the prices; None sets no limit.
    """

    model: str = ""
    temperature: float | None = 0.0
    max_tokens: int | None = 512
    seed: int | None = None
    response_format: ResponseFormat = "none"
    extra_json: str = ""
    api_key_env: str | None = None
    timeout_s: float = 120.0
    concurrency: int = 8
    retries: int = 5
    cache: Path | None = None
    prices: Prices = field(default_factory=Prices)
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 <= self.temperature < inf:
            raise InputError(f"temperature must be a number of at least 0, got {self.temperature}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if not 0 < self.timeout_s < inf:
            raise InputError(f"timeout_s must be a number above 0, got {self.timeout_s}")
        if self.concurrency < 1:
            raise InputError(f"concurrency must be at least 1, got {self.concurrency}")
        if self.retries < 0:
            raise InputError(f"retries must not be negative, got {self.retries}")
        if self.budget is not None and not (
            self.budget > 0 and (self.prices.prompt_price or self.prices.completion_price)
        ):
            raise InputError("a budget must be above 0 and needs the prices of prompt and completion tokens")
        self.extra_fields()

    def extra_fields(self) -> dict[str, object]:
        """The request fields of `extra_json`.

        Raises:
            InputError: It is not a JSON object, or it sets a field that is not its to set.
        """
        if not self.extra_json:
            return {}
        try:
            fields = json.loads(self.extra_json, parse_constant=_refuse_constant)
            json.dumps(fields, allow_nan=False)  # 1e999 is read as infinity
        except ValueError as error:
            raise InputError(f"extra_json is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise InputError("extra_json must be one JSON object")
        if taken := sorted(_RESERVED_FIELDS & fields.keys()):
            raise InputError(f"extra_json must not set {', '.join(taken)}")
        return fields

    def read_key(self, *, trusted: bool) -> str:
        """The API key from the environment; empty where there is none to send.

        Args:
            trusted: The endpoint is https or this machine, so the default key may be sent there.

        Raises:
            InputError: `api_key_env` names a variable that is not set, or the key is none that a header can hold.
        """
        if self.api_key_env is None:
            key = os.environ.get(DEFAULT_KEY_VARIABLE, "").strip() if trusted else ""
            return _check_key(key, DEFAULT_KEY_VARIABLE)
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise InputError(f"the environment variable {self.api_key_env} holds no API key")
        return _check_key(key, self.api_key_env)


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Everything that `create_backend` may need; each back end reads its own part.

    Attributes:
        server: How a server is asked.
        prompt: How prompts are written.
        repairs: Times a model is asked again after its answer failed a check.
    """

    server: ServerOptions = field(default_factory=ServerOptions)
    prompt: PromptOptions = field(default_factory=PromptOptions)
    repairs: int = 2

    def __post_init__(self) -> None:
        if self.repairs < 0:
            raise InputError(f"repairs must not be negative, got {self.repairs}")
