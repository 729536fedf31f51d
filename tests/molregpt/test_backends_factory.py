"""From a specification to a back end, and the chat back end as a whole."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from molregpt.backends import Backend, BackendError, BackendOptions, Prices, ServerOptions, create_backend
from molregpt.errors import InputError
from molregpt.prompts import PromptOptions
from molregpt.records import Example, Pair, Question, Usage

EXAMPLES = (
    Example(Pair("1", "CCO", "The molecule is ethanol."), 0.8),
    Example(Pair("2", "CO", "The molecule is methanol."), 0.6),
)
MOLECULE = Question("mol2cap", "CCCO", EXAMPLES)
CAPTION = Question("cap2mol", "The molecule is propan-1-ol.", EXAMPLES)


@pytest.fixture(autouse=True)
def no_key_in_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def answer(spec, question, options=None):
    async def run():
        backend = create_backend(spec, options)
        try:
            return await backend.answer(question)
        finally:
            await backend.close()

    return asyncio.run(run())


def chat_options(**kwargs):
    server = {"model": "tiny"} | kwargs.pop("server", {})
    return BackendOptions(server=ServerOptions(**server), **kwargs)


def test_neighbour_copies_the_nearest_example():
    copied = answer("neighbour", MOLECULE)
    assert (copied.text, copied.origin, copied.attempts) == ("The molecule is ethanol.", "neighbour", 0)
    assert answer("neighbour", CAPTION).text == "CCO"
    assert create_backend("neighbour").identity == "neighbour"


def test_neighbour_needs_an_example():
    with pytest.raises(InputError, match="at least one retrieved example"):
        answer("neighbour", Question("mol2cap", "C", ()))


def test_every_back_end_keeps_the_protocol():
    assert isinstance(create_backend("neighbour"), Backend)
    assert isinstance(create_backend("http://localhost:1", chat_options()), Backend)


@pytest.mark.parametrize("spec", ["gpt-4", "", "localhost:8000", "ftp://host"])
def test_unknown_specifications_name_the_choices(spec):
    with pytest.raises(InputError, match=r"unknown back end .*; choose local, neighbour, the folder .*, or the URL"):
        create_backend(spec)


def test_a_server_needs_a_model_name():
    with pytest.raises(InputError, match="needs the name of a model"):
        create_backend("http://localhost:1", BackendOptions())


def test_neighbour_loads_neither_torch_nor_an_http_client():
    code = (
        "import asyncio, sys\n"
        "from molregpt.backends import create_backend\n"
        "from molregpt.records import *\n"
        "question = Question('mol2cap', 'C', (Example(Pair('1', 'CC', 'ethane'), 1.0),))\n"
        "print(asyncio.run(create_backend('neighbour').answer(question)).text)\n"
        "heavy = {'torch', 'httpx', 'rdkit', 'transformers', 'jsonschema'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ethane\n", "")


def test_chat_answers_a_question_in_each_direction(chat_server):
    chat_server.say('{"caption": "The molecule is propan-1-ol."}', '{"smiles": "CCCO"}')
    caption = answer(chat_server.url, MOLECULE, chat_options())
    molecule = answer(chat_server.url, CAPTION, chat_options())
    assert (caption.text, caption.origin, caption.attempts) == ("The molecule is propan-1-ol.", "model", 1)
    assert (molecule.text, molecule.origin) == ("CCCO", "model")
    shown = [json.loads(turn["content"]) for turn in chat_server.requests[0]["messages"][1:]]
    assert shown == [
        {"smiles": "CO"},
        {"caption": "The molecule is methanol."},
        {"smiles": "CCO"},
        {"caption": "The molecule is ethanol."},
        {"smiles": "CCCO"},
    ]


def test_chat_repairs_and_counts_every_attempt(chat_server, tmp_path):
    chat_server.say('{"smiles": "C1CCO"}', '{"smiles": "CCCO"}')
    options = chat_options(server={"cache": tmp_path / "cache.sqlite", "prices": Prices(1e6, 1e6)})
    fixed = answer(chat_server.url, CAPTION, options)
    assert (fixed.text, fixed.origin, fixed.attempts) == ("CCCO", "repaired", 2)
    assert fixed.usage == Usage(2, 0, 20, 10, 30.0)
    assert "unclosed ring" in chat_server.requests[1]["messages"][-1]["content"]
    resumed = answer(chat_server.url, CAPTION, options)
    assert (resumed.text, resumed.origin, resumed.notes) == (fixed.text, fixed.origin, fixed.notes)
    assert resumed.usage == Usage(cached=2)
    assert len(chat_server.requests) == 2


def test_silence_goes_back_to_the_model_then_the_neighbour_stands_in(chat_server, tmp_path):
    chat_server.default = chat_server.step(chat_server.body(None, finish_reason="length"))
    options = chat_options(server={"cache": tmp_path / "cache.sqlite"}, repairs=1)
    for expected in (Usage(2, 0, 20, 10), Usage(cached=2)):
        fallen = answer(chat_server.url, MOLECULE, options)
        assert (fallen.text, fallen.origin) == ("The molecule is ethanol.", "neighbour")
        assert fallen.notes[0] == "attempt 1: the reply is empty (cut at the token limit)"
        assert fallen.usage == expected


def test_a_failing_server_is_an_error_never_a_quiet_neighbour(chat_server):
    chat_server.default = chat_server.step(status=401)
    with pytest.raises(BackendError, match="refused a request without an API key"):
        answer(chat_server.url, MOLECULE, chat_options())


def test_expert_identity_is_written_first_and_cached(chat_server, tmp_path):
    chat_server.say("You are\nan alcohol {expert}.", '{"caption": "An alcohol."}')
    options = chat_options(server={"cache": tmp_path / "cache.sqlite"}, prompt=PromptOptions(expert=True))
    first = answer(chat_server.url, MOLECULE, options)
    assert (first.text, first.attempts, first.usage.requests) == ("An alcohol.", 1, 2)
    assert chat_server.requests[1]["messages"][0]["content"].startswith("You are an alcohol {expert}.\n\n")
    assert answer(chat_server.url, MOLECULE, options).usage == Usage(cached=2)


def test_a_missing_expert_identity_is_noted(chat_server):
    chat_server.say(None, '{"caption": "An alcohol."}')
    noted = answer(chat_server.url, MOLECULE, chat_options(prompt=PromptOptions(expert=True)))
    assert noted.notes == ("expert identity: the model wrote none, so the default one stands in",)
    assert chat_server.requests[1]["messages"][0]["content"].startswith("You are a chemist who curates")


def test_dropped_examples_are_noted(chat_server):
    whole = answer(chat_server.url, MOLECULE, chat_options())
    assert whole.notes == ()
    options = chat_options(prompt=PromptOptions(token_budget=200))
    noted = answer(chat_server.url, Question("mol2cap", "CCCO", EXAMPLES * 9), options)
    assert "examples dropped to fit the token budget" in noted.notes[0]
    assert len(chat_server.requests[1]["messages"]) < 2 + 2 * 18


def test_identity_changes_with_every_setting_that_may_change_an_answer(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    url = "http://localhost:1/v1"
    variants = [
        chat_options(),
        *(
            chat_options(server=server)
            for server in (
                {"model": "other"},
                {"temperature": 1.0},
                {"max_tokens": 1},
                {"seed": 1},
                {"response_format": "json_object"},
                {"extra_json": '{"top_p": 1}'},
            )
        ),
        *(chat_options(prompt=prompt) for prompt in (PromptOptions("best-first"), PromptOptions(token_budget=900))),
        chat_options(prompt=PromptOptions(expert=True)),
        chat_options(repairs=0),
    ]
    identities = [create_backend(url, options).identity for options in variants]
    identities.append(create_backend("http://localhost:2/v1", chat_options()).identity)
    assert len(set(identities)) == len(variants) + 1
    assert identities[0].startswith("tiny at http://localhost:1/v1/chat/completions {")
    assert not any("sk-secret" in identity or "\n" in identity for identity in identities)
    same = chat_options(server={"timeout_s": 1, "concurrency": 1, "retries": 0})
    assert create_backend(url, same).identity == identities[0]


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1.0},
        {"max_tokens": 0},
        {"timeout_s": 0.0},
        {"concurrency": 0},
        {"retries": -1},
        {"budget": 1.0},
        {"budget": 0.0, "prices": Prices(1, 1)},
        {"extra_json": "{"},
        {"extra_json": "[1]"},
        {"extra_json": '{"top_p": NaN}'},
        {"extra_json": '{"model": "x"}'},
        {"extra_json": '{"stream": true}'},
    ],
)
def test_bad_server_options_are_refused(bad):
    with pytest.raises(InputError):
        ServerOptions(**bad)


def test_bad_prices_and_repairs_are_refused():
    with pytest.raises(InputError):
        Prices(-1.0)
    with pytest.raises(InputError):
        BackendOptions(repairs=-1)
