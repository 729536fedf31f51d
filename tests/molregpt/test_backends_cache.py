"""The reply cache: nothing is paid for twice, nobody gets another's answer, a killed process loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from molregpt.backends.cache import ReplyCache, encode_canonical, request_key
from molregpt.backends.client import ChatClient
from molregpt.backends.options import ServerOptions
from molregpt.errors import InputError
from molregpt.records import Usage
from unitlm.task import Message

CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from molregpt.backends.client import ChatClient
    from molregpt.backends.options import ServerOptions
    from unitlm.task import Message

    async def run(url, cache, count):
        client = ChatClient(url, ServerOptions(model="tiny", concurrency=4, cache=Path(cache)))
        replies = await asyncio.gather(*(client.complete((Message("user", str(n)),)) for n in range(count)))
        await client.close()
        print(client.account.total.requests, client.account.total.cached, *[reply.text for reply in replies])

    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    """
)


def start_child(url, cache, count):
    command = [sys.executable, "-c", CHILD, url, str(cache), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ask(url, cache, text="hello", **options):
    async def run():
        client = ChatClient(url, ServerOptions(**({"model": "tiny", "cache": cache} | options)))
        try:
            return await client.complete((Message("user", text),))
        finally:
            await client.close()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "cache.sqlite"


def test_a_second_run_costs_nothing(chat_server, path):
    chat_server.say("first", finish_reason="length")
    first = ask(chat_server.url, path)
    again = ask(chat_server.url, path)
    assert (again.text, again.finish_reason) == (first.text, first.finish_reason) == ("first", "length")
    assert again.usage == Usage(cached=1)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    "changed",
    [{"model": "other"}, {"temperature": 1.0}, {"seed": 1}, {"max_tokens": 9}, {"extra_json": '{"top_p": 1}'}],
)
def test_any_change_of_the_request_is_asked_anew(chat_server, path, changed):
    chat_server.say("first", "second")
    assert ask(chat_server.url, path).text == "first"
    assert ask(chat_server.url, path, **changed).text == "second"
    assert ask(chat_server.url, path).text == "first"


def test_another_endpoint_is_asked_anew(chat_server, path):
    chat_server.say("first", "second")
    assert ask(chat_server.url, path).text == "first"
    assert ask(chat_server.url.removesuffix("/v1") + "/other/v1", path).text == "second"


def test_settings_that_do_not_reach_the_server_do_not_change_the_key(chat_server, path):
    ask(chat_server.url, path)
    assert ask(chat_server.url, path, timeout_s=5, retries=0, concurrency=1).usage.cached == 1


def test_raw_replies_are_stored_before_parsing_and_broken_ones_are_asked_for_again(chat_server, path):
    broken = '{"choices": [{"mess'
    chat_server.play(chat_server.step(broken))
    chat_server.say("whole")
    assert ask(chat_server.url, path).problem == "the server's reply is not JSON"
    assert ask(chat_server.url, path).text == "whole"
    assert ask(chat_server.url, path).usage.cached == 1
    rows = sqlite3.connect(path).execute("SELECT response FROM replies ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [broken, chat_server.body("whole")]


def test_file_format(chat_server, path):
    ask(chat_server.url, path, "grüß dich")
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA application_id").fetchone() == (0x4D524743,)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    cursor = database.execute("SELECT key, endpoint, model, request, response FROM replies")
    key, endpoint, model, request, response = cursor.fetchone()
    assert endpoint == chat_server.url + "/chat/completions"
    assert model == "tiny"
    assert request == encode_canonical(chat_server.requests[0])
    assert "grüß dich" in request
    assert key == hashlib.sha256(f"{endpoint}\n{request}".encode()).hexdigest() == request_key(endpoint, request)
    assert response == chat_server.default.body


def test_canonical_json_ignores_order_only():
    assert encode_canonical({"b": 1, "a": [2, "ü"]}) == encode_canonical(json.loads('{"a": [2, "\\u00fc"], "b": 1}'))
    assert encode_canonical({"a": 1}) == '{"a":1}'
    assert encode_canonical([1, 2]) != encode_canonical([2, 1])


def test_the_first_readable_reply_counts(path):
    cache = ReplyCache(path)
    cache.append("e", "m", "r", "one")
    cache.append("e", "m", "r", "two")
    cache.append("e", "m", "other", "three")
    assert cache.read(request_key("e", "r")) == ["one", "two"]
    cache.close()


def test_two_clients_that_ask_at_once_settle_on_one_reply(chat_server, path):
    # Both have asked before either is answered, and the second answer comes well after the first.
    chat_server.play(
        chat_server.step(chat_server.body("early"), hold_for=2),
        chat_server.step(chat_server.body("late"), hold_for=2, delay_s=0.5),
    )
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(ask(chat_server.url, path).text)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(chat_server.requests) == 2
    assert texts == ["early", "early"]


def test_a_killed_run_goes_on_where_it_was(chat_server, path):
    chat_server.default = chat_server.step(chat_server.body("x"), delay_s=0.05)
    child = start_child(chat_server.url, path, 60)
    while len(chat_server.requests) < 12:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    before = len(chat_server.requests)
    stored = sqlite3.connect(path).execute("SELECT count(*) FROM replies").fetchone()[0]
    assert before - 4 <= stored <= before  # only what was in flight is lost
    out, _ = start_child(chat_server.url, path, 60).communicate(timeout=60)
    requests, cached, *texts = out.split()
    assert (int(requests), int(cached)) == (60 - stored, stored)
    assert texts == ["x"] * 60


def test_two_processes_share_one_file(chat_server, path):
    children = [start_child(chat_server.url, path, 25) for _ in range(2)]
    outputs = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert all(int(requests) + int(cached) == 25 for requests, cached, *_ in outputs)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(DISTINCT key) FROM replies").fetchone() == (25,)


@pytest.mark.parametrize("kind", ["text", "other database", "other version", "folder"])
def test_files_that_are_no_cache_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "thing"
    if kind == "text":
        path.write_text("just some text, longer than a header would be" * 20)
    elif kind == "folder":
        path.mkdir()
    else:
        ReplyCache(path).close()
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 2" if kind == "other version" else "PRAGMA application_id = 1")
        database.commit()
        database.close()
    with pytest.raises(InputError, match=r"thing: [^\n]+$"):
        ReplyCache(path)
