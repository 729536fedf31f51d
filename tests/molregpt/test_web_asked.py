"""What the page of `molregpt web` shows of a question; no browser is needed for that."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from molregpt.backends import BackendOptions, ServerOptions
from molregpt.cli import run
from molregpt.errors import InputError
from molregpt.prompts import PromptOptions
from molregpt.report.views import mark_words
from molregpt.retrieval.options import RetrievalOptions
from molregpt.web.asked import Desk, editor_page, unpack_editor
from molregpt.web.settings import Address, Limits

HOSTILE = "The molecule is an alcohol <img src=x onerror=alert(1)> and a <script>alert(2)</script> solvent."
POOL = f"""CID\tSMILES\tdescription
1\tCCO\t{HOSTILE}
2\tCC(=O)O\tThe molecule is a monocarboxylic acid. It has a role as a protic solvent.
3\tC1=CC=CC=C1C(=O)O\tThe molecule is a benzoic acid.
4\tCCN\tThe molecule is a primary amine.
5\tCCCCO\tThe molecule is a primary alcohol.
6\tCCCCCC\tThe molecule is an alkane.
"""


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.tsv"
    path.write_text(POOL)
    return path


@pytest.fixture
def make_desk(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("MOLREGPT_CACHE", str(tmp_path))
    desks = []

    def make(backend: str = "neighbour", settings: BackendOptions | None = None, **limits: Any) -> Desk:
        retrieval = RetrievalOptions(pool=(pool,))
        desks.append(Desk(backend, retrieval, settings or BackendOptions(), Limits(**limits), shots=3))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_a_molecule_is_described_with_neighbours_checks_and_prompt(make_desk: Any) -> None:
    html = make_desk().answer("mol2cap", "CCCCCO", 3)
    page = Page(html)
    assert "The molecule is a primary alcohol." in page.text
    assert "copied from the nearest neighbour" in page.text
    assert page.tags.count("svg") == 1 + 3
    assert "--atom-shared" in html.split("Nearest neighbours by learned")[1]
    assert "C5H12O; 0 rings, 0 aromatic; 0 stereocentres; alcohol 1" in page.text
    assert html.count('<li class="good">') == 2
    assert html.count('class="message user"') == 4
    assert '{"smiles": "CCCCCO"}' in page.text


def test_a_description_is_drawn_and_the_words_that_matched_are_marked(make_desk: Any) -> None:
    html = make_desk().answer("cap2mol", "The molecule is a protic solvent.", 2)
    assert '<p id="answer"><code>CC(=O)O</code>' in html
    assert re.findall(r"<mark>(.*?)</mark>", html) == ["protic"]  # the other words are in many of the six
    assert "C2H4O2" in html


def test_what_the_pool_or_the_visitor_says_is_text_and_never_html(make_desk: Any) -> None:
    for direction, query in (("mol2cap", "CCO"), ("cap2mol", "an alcohol </pre><script>alert(3)</script> solvent")):
        page = Page(make_desk().answer(direction, query, 6))
        assert "onerror=alert(1)" in page.text
        assert {"script", "img"}.isdisjoint(page.tags)
    page = Page(make_desk().answer("mol2cap", "<img src=x onerror=alert(4)>", 3))
    assert 'role="alert"' not in page.text
    assert "not a SMILES that RDKit can read: '<img" in page.text
    assert "img" not in page.tags


@pytest.mark.parametrize(
    ("direction", "query", "shots", "told"),
    [
        ("mol2cap", " ", 3, "draw a molecule first"),
        ("cap2mol", "", 3, "type something"),
        ("mol2cap", "CC(=O", 3, "extra open parentheses"),
        ("cap2mol", "word " * 50, 3, "more than 200 characters"),
        ("mol2cap", "CCO", 7, "0 to 6 examples"),
        ("mol2cap", "CCO", -1, "0 to 6 examples"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    make_desk: Any, direction: str, query: str, shots: int, told: str
) -> None:
    page = Page(make_desk(longest_query=200, most_shots=6).answer(direction, query, shots))
    assert told in page.text
    assert "svg" not in page.tags


def test_a_server_s_answer_is_shown_with_the_prompt_that_it_was_sent(make_desk: Any, chat_server: Any) -> None:
    chat_server.say("no JSON", '{"caption": "The molecule is propan-1-ol."}')
    settings = BackendOptions(server=ServerOptions(model="m"))
    page = Page(make_desk(chat_server.url, settings).answer("mol2cap", "CCCO", 2))
    assert "The molecule is propan-1-ol." in page.text
    assert "the model's answer, asked again" in page.text
    assert "the reply holds no JSON object" in page.text
    assert "The prompt that was sent to m at http" in page.text
    sent = chat_server.requests[0]["messages"]
    assert all(message["content"] in page.text for message in sent)


def test_the_prompt_is_shown_as_the_back_end_counts_it_and_never_in_the_way(make_desk: Any, chat_server: Any) -> None:
    chat_server.say('{"caption": "The molecule is propan-1-ol."}')
    found = re.search(r"about (\d+) tokens", Page(make_desk().answer("mol2cap", "CCCO", 3)).text)
    assert found
    whole = BackendOptions(ServerOptions(model="m"), PromptOptions(token_budget=int(found[1]) - 1))
    page = Page(make_desk(chat_server.url, whole).answer("mol2cap", "CCCO", 3))
    assert "dropped to fit the token budget" in page.text
    sent = chat_server.requests[0]["messages"]
    assert f"({len(sent)} messages" in page.text
    assert all(message["content"] in page.text for message in sent)
    # A back end that is sent no prompt has no budget to keep.
    small = BackendOptions(prompt=PromptOptions(token_budget=1))
    assert "no answer" not in make_desk("neighbour", small).answer("mol2cap", "CCCO", 1).lower()


def test_an_answer_that_takes_too_long_is_given_up(make_desk: Any, chat_server: Any) -> None:
    chat_server.play(chat_server.step(chat_server.body('{"caption": "late"}'), delay_s=1.0))
    desk = make_desk(chat_server.url, BackendOptions(server=ServerOptions(model="m")), request_timeout_s=0.3)
    began = time.monotonic()
    assert "no answer within 0.3 s" in desk.answer("mol2cap", "CCO", 1)
    assert time.monotonic() - began < 0.9


def test_the_editor_ships_whole_and_its_frame_names_it(tmp_path: Path) -> None:
    script = unpack_editor(tmp_path).read_text("utf-8")
    assert "CanvasEditor" in script
    assert 'from "/files/openchemlib.js"' in editor_page("/files/openchemlib.js")
    assert "</script><b>" not in editor_page("</script><b>")


def test_marked_words_join_to_the_text() -> None:
    text = "A 3-oxo-Delta(4) steroid,  and an  androgen."
    pieces = mark_words(text, {"steroid", "androgen"})
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.shared] == ["steroid,", "androgen."]
    assert [piece.shared for piece in mark_words(text, frozenset())] == [False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "-1"], "port must be 0 to 65535"),
        (["--waiting", "0"], "waiting must be at least 1"),
        (["--request-timeout-s", "0"], "request_timeout_s must be above 0"),
    ],
)
def test_the_command_refuses_what_makes_no_page(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["web", *options]) == 2
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_told() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="Address already in use"):
        Address(port=taken.getsockname()[1]).find_port()


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "molregpt.web.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(["web"]) == 2
    assert "the page needs gradio: pip install 'molregpt[web]'" in capsys.readouterr().err
