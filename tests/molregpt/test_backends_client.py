"""The client of OpenAI-compatible servers against a scripted server: faults, retries, concurrency, account, secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from molregpt.backends.client import ChatClient, is_trusted, parse_completion, parse_endpoint
from molregpt.backends.options import Prices, ServerOptions
from molregpt.backends.protocol import BackendError, BudgetError
from molregpt.backends.retry import backoff_delay_s, parse_retry_after
from molregpt.errors import InputError
from molregpt.prompts import estimate_tokens
from molregpt.records import Usage
from unitlm.task import Message

KEY = "sk-test-0123456789abcdef"
HELLO = (Message("system", "be brief"), Message("user", "hello"))
SCHEMA = {"type": "object", "properties": {"caption": {"type": "string"}}, "required": ["caption"]}


@pytest.fixture(autouse=True)
def no_key_in_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


class Sleeper:
    """Notes how long the client would have slept."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.delays.append(seconds)


def complete(url, *batches, sleep=None, schema=None, **options):
    """Send each batch of messages after the other over one client; the replies and the client."""

    async def run():
        client = ChatClient(
            url,
            ServerOptions(**({"model": "tiny"} | options)),
            sleep=sleep or Sleeper(),
            generator=random.Random(0),
        )
        try:
            return [await client.complete(messages, schema) for messages in batches or (HELLO,)], client
        finally:
            await client.close()

    return asyncio.run(run())


def test_request_holds_what_was_set_and_nothing_else(chat_server):
    complete(chat_server.url, temperature=0.5, max_tokens=7, seed=3, extra_json='{"top_p": 0.9}', schema=SCHEMA)
    assert chat_server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "max_tokens": 7,
            "seed": 3,
            "top_p": 0.9,
        }
    ]
    assert chat_server.paths == ["/v1/chat/completions"]
    assert chat_server.authorizations == [None]


def test_unset_options_are_left_to_the_server(chat_server):
    complete(chat_server.url, temperature=None, max_tokens=None)
    assert chat_server.requests[0].keys() == {"model", "messages"}


def test_response_format_goes_out_only_when_asked_for_and_with_a_schema(chat_server):
    complete(chat_server.url, response_format="json_object", schema=SCHEMA)
    complete(chat_server.url, response_format="json_schema", schema=SCHEMA)
    complete(chat_server.url, response_format="json_schema")
    formats = [request.get("response_format") for request in chat_server.requests]
    assert formats == [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA | {"additionalProperties": False}}},
        None,
    ]


def test_reply_carries_text_finish_reason_and_usage(chat_server):
    chat_server.say("hi", finish_reason="length", prompt_tokens=100, tokens=20)
    [reply], client = complete(chat_server.url, prices=Prices(prompt_price=1.0, completion_price=10.0))
    assert (reply.text, reply.finish_reason, reply.problem) == ("hi", "length", "")
    assert reply.usage == Usage(1, 0, 100, 20, pytest.approx(0.0003))
    assert client.account.total == reply.usage


def test_a_server_that_does_not_count_is_charged_by_estimate(chat_server):
    uncounted = json.dumps({"choices": [{"message": {"content": "four words of text"}}]})
    chat_server.play(chat_server.step(uncounted))
    [reply], client = complete(chat_server.url, prices=Prices(prompt_price=1.0, completion_price=1.0))
    assert reply.usage.completion_tokens == estimate_tokens("four words of text") > 0
    assert client.account.total.cost == pytest.approx((reply.usage.prompt_tokens + reply.usage.completion_tokens) / 1e6)
    assert reply.usage.prompt_tokens > 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_transient_statuses_are_retried_with_growing_jittered_delays(chat_server, status):
    sleep = Sleeper()
    chat_server.play(*[chat_server.step("busy", status=status)] * 3)
    chat_server.say("at last")
    [reply], _ = complete(chat_server.url, sleep=sleep)
    assert reply.text == "at last"
    assert reply.usage.requests == 4
    assert len(sleep.delays) == 3
    for retry, delay in enumerate(sleep.delays):
        assert 0.25 * 2**retry <= delay <= 0.5 * 2**retry
    assert len({delay / 2**retry for retry, delay in enumerate(sleep.delays)}) == 3  # jitter


def test_retry_after_in_seconds_is_honoured(chat_server):
    sleep = Sleeper()
    chat_server.play(chat_server.step(status=429, headers={"Retry-After": "7"}))
    complete(chat_server.url, sleep=sleep)
    assert sleep.delays == [7.0]


def test_retry_after_as_a_date_is_honoured(chat_server):
    sleep = Sleeper()
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    chat_server.play(chat_server.step(status=503, headers={"Retry-After": moment}))
    complete(chat_server.url, sleep=sleep)
    assert sleep.delays == [pytest.approx(90, abs=30)]


def test_a_server_that_asks_to_wait_too_long_ends_the_run(chat_server):
    chat_server.play(chat_server.step("quota", status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(BackendError, match="status 429: quota; it asks to wait 86400 s"):
        complete(chat_server.url)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_forms(value, seconds):
    assert parse_retry_after(value, datetime(2015, 10, 21, 7, 28, tzinfo=UTC)) == seconds


def test_backoff_is_capped():
    assert 30 <= backoff_delay_s(500, random.Random(0)) <= 60


def test_retries_end_with_one_line_that_counts_them(chat_server):
    chat_server.default = chat_server.step('{"error": {"message": "out of\\nmemory"}}', status=500)
    with pytest.raises(BackendError, match=r"status 500: out of memory; given up after 3 attempts$"):
        complete(chat_server.url, retries=2)
    assert len(chat_server.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 404, 408, 422])
def test_other_statuses_are_not_retried(chat_server, status):
    chat_server.play(chat_server.step('{"error": {"message": "context is too long"}}', status=status))
    with pytest.raises(BackendError, match=f"status {status}: context is too long$"):
        complete(chat_server.url)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_one_line_without_the_key(chat_server, monkeypatch, status):
    monkeypatch.setenv("MY_KEY", KEY)
    chat_server.default = chat_server.step(f'{{"error": {{"message": "Incorrect API key: {KEY}"}}}}', status=status)
    with pytest.raises(BackendError) as caught:
        complete(chat_server.url, api_key_env="MY_KEY")
    assert str(caught.value).endswith(f"the server refused the API key of MY_KEY (status {status})")
    assert KEY not in str(caught.value)
    assert len(chat_server.requests) == 1
    with pytest.raises(BackendError, match=r"a request without an API key \(none in OPENAI_API_KEY\)"):
        complete(chat_server.url)


def test_a_timeout_is_retried(chat_server):
    chat_server.play(chat_server.step(chat_server.body("late"), delay_s=1.5))
    chat_server.say("in time")
    [reply], _ = complete(chat_server.url, timeout_s=0.5)
    assert reply.text == "in time"
    assert len(chat_server.requests) == 2


def test_a_slow_drip_hits_the_limit_of_the_whole_request(chat_server):
    # Each byte comes well within the limit; all of them would take seconds.
    chat_server.play(chat_server.step(chat_server.body("drop by drop"), drip_s=0.02))
    chat_server.say("in time")
    [reply], _ = complete(chat_server.url, timeout_s=0.5)
    assert reply.text == "in time"
    chat_server.default = chat_server.step(chat_server.body("drop by drop"), drip_s=0.02)
    with pytest.raises(BackendError, match=r"no complete reply within 0\.2 s; given up after 1 attempts"):
        complete(chat_server.url, timeout_s=0.2, retries=0)


def test_half_a_body_and_a_dropped_connection_are_retried(chat_server):
    chat_server.play(chat_server.step('{"choices": [', claimed_extra=100), chat_server.step(drop=True))
    chat_server.say("whole")
    [reply], _ = complete(chat_server.url)
    assert reply.text == "whole"
    assert len(chat_server.requests) == 3


def test_nobody_listening_is_one_line():
    with pytest.raises(BackendError, match=r"^http://127\.0\.0\.1:9/v1/chat/completions: connection failed: [^\n]+$"):
        complete("http://127.0.0.1:9", retries=1)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<html>busy</html>", "the server's reply is not JSON"),
        ('{"choices": [{"mess', "the server's reply is not JSON"),
        ("[" * 100_000, "the server's reply is not JSON"),
        ("[]", "the server's reply is not a JSON object"),
        ("{}", "the server's reply holds no choices"),
        ('{"choices": []}', "the server's reply holds no choices"),
        ('{"choices": null}', "the server's reply holds no choices"),
        ('{"choices": [7]}', "the server's reply holds no choices"),
        ('{"choices": [{"text": "old route"}]}', "the server's reply holds no message"),
        ('{"choices": [{"message": {"content": ["parts"]}}]}', "the server's reply holds no message"),
    ],
)
def test_bodies_without_a_message_are_a_problem_not_a_crash(chat_server, body, problem):
    chat_server.play(chat_server.step(body))
    [reply], _ = complete(chat_server.url)
    assert (reply.text, reply.problem) == ("", problem)
    assert reply.usage.requests == 1
    assert len(chat_server.requests) == 1


def test_null_content_is_an_empty_message(chat_server):
    chat_server.say(None, finish_reason="length")
    [reply], _ = complete(chat_server.url)
    assert (reply.text, reply.problem, reply.finish_reason) == ("", "", "length")


def test_tokens_of_a_body_without_choices_are_still_counted():
    completion = parse_completion('{"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": true}}')
    assert (completion.prompt_tokens, completion.completion_tokens) == (4, 1)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_in_flight_than_allowed(chat_server, concurrency):
    # The first ones are answered only once as many as allowed are there: fewer would be as wrong as more.
    chat_server.default = chat_server.step(chat_server.body("x"), hold_for=concurrency, delay_s=0.02)

    async def run():
        client = ChatClient(chat_server.url, ServerOptions(model="tiny", concurrency=concurrency))
        await asyncio.gather(*(client.complete((Message("user", str(number)),)) for number in range(9)))
        await client.close()

    asyncio.run(run())
    assert len(chat_server.requests) == 9
    assert chat_server.max_in_flight == concurrency


def test_budget_stops_before_the_request_that_could_overdraw_it(chat_server):
    chat_server.default = chat_server.step(chat_server.body("x", prompt_tokens=10, tokens=100))
    batches = [(Message("user", str(number)),) for number in range(9)]
    # A completion token costs 0.01, so each reply costs 1 and the budget covers three.
    with pytest.raises(BudgetError, match=r"budget of 3\.5 reached: 3 is spent and the next request may cost up to 1$"):
        complete(chat_server.url, *batches, max_tokens=100, prices=Prices(completion_price=10_000), budget=3.5)
    assert len(chat_server.requests) == 3


def test_budget_holds_with_many_requests_in_flight(chat_server):
    chat_server.default = chat_server.step(chat_server.body("x", tokens=50), delay_s=0.02)

    async def run():
        # Each may cost 1 and does cost 0.5: what a reply does not use is free for those that wait.
        options = ServerOptions(
            model="tiny", concurrency=8, max_tokens=100, prices=Prices(completion_price=10_000), budget=3.0
        )
        client = ChatClient(chat_server.url, options)
        asked = (client.complete((Message("user", str(number)),)) for number in range(12))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        await client.close()
        return outcomes, client.account.total

    outcomes, total = asyncio.run(run())
    assert len(chat_server.requests) == 5
    assert total.cost == pytest.approx(2.5)
    assert sum(isinstance(outcome, BudgetError) for outcome in outcomes) == 7


def test_key_comes_from_the_environment_and_reaches_only_the_header(chat_server, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    chat_server.say(f"your key is {KEY}")
    [reply], client = complete(chat_server.url, cache=tmp_path / "cache.sqlite")
    assert chat_server.authorizations == [f"Bearer {KEY}"]
    assert reply.text == "your key is ***"
    assert KEY not in caplog.text
    assert KEY.encode() not in (tmp_path / "cache.sqlite").read_bytes()
    assert KEY not in client.endpoint + repr(client.options)


@pytest.mark.parametrize("key", ["\u201csk-abc\u201d", "sk-\x07abc"])
def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("MY_KEY", key)
    for variable in ("OPENAI_API_KEY", "MY_KEY"):
        with pytest.raises(InputError, match=f"the API key in {variable} has characters") as caught:
            complete("http://127.0.0.1:9", api_key_env=None if variable == "OPENAI_API_KEY" else variable)
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"temperature": math.nan}, {"temperature": math.inf}, {"timeout_s": math.nan}, {"extra_json": '{"top_p": 1e999}'}],
)
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises(InputError, match=r"temperature|timeout_s|extra_json is not JSON"):
        ServerOptions(**options)
    with pytest.raises(InputError, match="prices must be numbers"):
        Prices(prompt_price=math.nan)


def test_selected_key_variable_must_be_set(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(InputError, match="environment variable MY_KEY holds no API key"):
        complete("http://127.0.0.1:9", api_key_env="MY_KEY")


@pytest.mark.parametrize(
    ("endpoint", "trusted"),
    [
        ("https://api.example.org/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://gpu-box:8000/v1", False),
        ("http://localhost.example.org/v1", False),
    ],
)
def test_default_key_goes_only_over_https_or_to_this_machine(endpoint, trusted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert is_trusted(endpoint) is trusted
    assert ServerOptions().read_key(trusted=trusted) == (KEY if trusted else "")
    assert ServerOptions(api_key_env="OPENAI_API_KEY").read_key(trusted=trusted) == KEY


@pytest.mark.parametrize(
    "url", ["http://host:80", "http://host/", "http://host/v1", "http://host/v1/", "http://host/v1/chat/completions"]
)
def test_forms_of_one_endpoint(url):
    assert parse_endpoint(url) == "http://host/v1/chat/completions"


def test_other_paths_are_kept():
    assert parse_endpoint("https://host:8443/api/openai") == "https://host:8443/api/openai/chat/completions"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"http://me:{KEY}@host/v1", "user name or password"),
        (f"http://host/v1?key={KEY}", "must have no query"),
        ("ftp://host", "must be http"),
        ("http://", "must be http"),
        ("http://host:port", "cannot be read"),
        ("http://127.0.0.1:99999", "there is no port 99999"),
        ("http://xn--a", "cannot be read"),
    ],
)
def test_urls_that_are_refused_without_repeating_secrets(url, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_endpoint(url)
    assert KEY not in str(caught.value)


def test_a_proxy_of_the_environment_does_not_stand_before_this_machine(chat_server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    complete(chat_server.url, retries=0)
    assert len(chat_server.requests) == 1


def test_text_that_is_not_unicode_is_bad_input(chat_server):
    with pytest.raises(InputError, match="not valid Unicode"):
        complete(chat_server.url, (Message("user", "\udcff"),))
    assert not chat_server.requests
