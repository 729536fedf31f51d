"""Checks of a model's replies, and the loop that asks again."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molregpt.answering import answer_question, check_reply
from molregpt.records import Example, Pair, Question, Reply, Usage
from unitlm.task import Message

NEAREST = Pair("7", "CCO", "The molecule is ethanol.")
EXAMPLES = (Example(NEAREST, 0.9),)
PROMPT = (Message("system", "s"), Message("user", "u"))


@pytest.mark.parametrize(
    ("direction", "reply", "text"),
    [
        ("mol2cap", '{"caption": "An alcohol."}', "An alcohol."),
        ("mol2cap", 'Sure!\n```json\n{"caption": "An alcohol."}\n```\nAnything else?', "An alcohol."),
        ("mol2cap", '{"caption": "A set {x} of\n two  lines."}', "A set {x} of two lines."),
        (
            "mol2cap",
            '{"caption": "a draft"} no, better: {"caption": "the last one", "why": "more exact"}',
            "the last one",
        ),
        ("mol2cap", '{"caption": "kept"} {"note": "not an answer"}', "kept"),
        ("mol2cap", '<think>{"caption": "a thought"}</think>{"caption": "said"}', "said"),
        # A template that opens the thought in the prompt.
        ("mol2cap", '{"caption": "a thought"} hm</think>{"caption": "said"}', "said"),
        ("mol2cap", '{"caption": "said"}</think>', "said"),
        ("mol2cap", '{"caption": "said"} <think>{"caption": "is that so"}</think>', "said"),
        ("cap2mol", '{"smiles": " CCO "}', "CCO"),
        ("cap2mol", 'I think {this} is it: {"smiles": "C[C@H](N)C(=O)O"}.', "C[C@H](N)C(=O)O"),
    ],
)
def test_replies_that_pass(direction, reply, text):
    verdict = check_reply(direction, reply)
    assert (verdict.text, verdict.problem) == (text, "")


@pytest.mark.parametrize(
    "written",
    [r"C/C=C\\C", r"C/C=C\C", r"C/C=C\\\\C"],
    ids=["as JSON demands", "not escaped", "escaped twice"],
)
def test_backslashes_of_smiles_survive_every_way_of_escaping(written):
    reply = f'The molecule {{E}} is {{"smiles": "{written}"}}, {{"see": "above"}}'
    assert check_reply("cap2mol", reply) == check_reply("cap2mol", json.dumps({"smiles": r"C/C=C\C"}))
    assert check_reply("cap2mol", reply).text == r"C/C=C\C"


@pytest.mark.parametrize("smiles", [r"F/C=C\n1cccc1", r"F/C=C\b1occo1", r"F/C=C\F"])
def test_escapes_that_json_would_turn_into_control_signs_are_bonds(smiles):
    verdict = check_reply("cap2mol", f'{{"smiles": "{smiles}"}}')
    assert (verdict.text, verdict.problem) == (smiles, "")


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",))).filter(str.strip), st.text('{}\\" \n,:ab'))
def test_any_caption_is_read_back_from_any_surroundings(caption, around):
    # Quotes and braces around the object may swallow it, so the surroundings hold the object on a line after them.
    reply = around.replace("{", "(").replace("}", ")") + "\n" + json.dumps({"caption": caption})
    assert check_reply("mol2cap", reply).text == " ".join(caption.split())


@given(st.text('{}[]"\\:,smiles caption`<think>/ C1=O\n'))
def test_no_reply_breaks_the_reader(reply):
    for direction in ("mol2cap", "cap2mol"):
        verdict = check_reply(direction, reply)
        assert "\n" not in verdict.problem
        assert verdict.text or not verdict.usable
        assert verdict.usable or verdict.problem


def test_deep_nesting_is_refused_in_one_line():
    for reply in ('{"smiles":' * 3000, '{"smiles":' * 1500 + "}" * 1500):
        verdict = check_reply("cap2mol", reply)
        assert verdict.problem == "the reply holds no JSON object"
        assert not verdict.usable


@pytest.mark.parametrize(
    ("direction", "reply", "problem", "candidate"),
    [
        ("mol2cap", " \n", "the reply is empty", ""),
        ("mol2cap", "It is an alcohol.", "the reply holds no JSON object", "It is an alcohol."),
        (
            "mol2cap",
            '{"caption": "An alcohol that',
            "the JSON object of the reply is cut off or malformed",
            "An alcohol that",
        ),
        ("mol2cap", '{"caption": 5}', "the JSON object does not fit the schema: 5 is not of type 'string'", ""),
        ("mol2cap", '{"title": "x"}', "the JSON object does not fit the schema: 'caption' is a required property", ""),
        ("mol2cap", '{"caption": "  "}', "the caption is blank", ""),
        ("cap2mol", "`CCO`", "the reply holds no JSON object", "CCO"),
        ("cap2mol", "It is CCO", "the reply holds no JSON object", ""),
        ("cap2mol", '{"smiles": "CCOC(=O)', "the JSON object of the reply is cut off or malformed", ""),
    ],
)
def test_replies_that_fail_but_may_still_say_something(direction, reply, problem, candidate):
    verdict = check_reply(direction, reply)
    assert verdict.problem == problem
    assert (verdict.text if verdict.usable else "") == candidate


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "unclosed ring"),
        ("CC(C)(C)(C)C", "Explicit valence"),
        ("CCO ethanol", "white space"),
        ("c1ccccn1C", "kekulize"),
    ],
)
def test_molecules_that_do_not_parse_fail_with_the_reason(smiles, reason):
    verdict = check_reply("cap2mol", json.dumps({"smiles": smiles}))
    assert reason.lower() in verdict.problem.lower()
    assert not verdict.usable
    assert verdict.text == smiles


class Model:
    """Says what it is told to say, and keeps what it was sent."""

    def __init__(self, *replies: str | Reply) -> None:
        self.replies = list(replies)
        self.sent: list[tuple[Message, ...]] = []

    async def __call__(self, messages):
        self.sent.append(tuple(messages))
        reply = self.replies.pop(0)
        return reply if isinstance(reply, Reply) else Reply(reply, usage=Usage(requests=1, completion_tokens=3))


def ask_model(model: Model, direction="cap2mol", examples=EXAMPLES, repairs=2):
    return asyncio.run(answer_question(Question(direction, "q", examples), PROMPT, model, repairs=repairs))


def test_first_reply_that_passes_is_the_models():
    model = Model('{"smiles": "CO"}')
    answer = ask_model(model)
    assert (answer.text, answer.origin, answer.attempts, answer.notes) == ("CO", "model", 1, ())
    assert model.sent == [PROMPT]


def test_a_molecule_that_does_not_parse_goes_back_with_rdkits_reason():
    model = Model('{"smiles": "C1CC"}', '{"smiles": "C1CC1"}')
    answer = ask_model(model)
    assert (answer.text, answer.origin, answer.attempts) == ("C1CC1", "repaired", 2)
    assert answer.usage == Usage(requests=2, completion_tokens=6)
    assert len(answer.notes) == 1
    assert answer.notes[0].startswith("attempt 1: ")
    assert "unclosed ring" in answer.notes[0]
    back = model.sent[1]
    assert back[:2] == PROMPT
    assert [message.role for message in back[2:]] == ["assistant", "user"]
    assert back[2].content == '{"smiles": "C1CC"}'
    assert "unclosed ring" in back[3].content


def test_a_usable_candidate_comes_before_the_neighbour():
    answer = ask_model(Model('{"smiles": "C1CC"}', "CN", "no idea"))
    assert (answer.text, answer.origin, answer.attempts, len(answer.notes)) == ("CN", "candidate", 3, 3)


def test_the_neighbour_stands_in_when_nothing_is_usable():
    answer = ask_model(Model('{"smiles": "C1CC"}', "no", "no"))
    assert (answer.text, answer.origin, answer.attempts, len(answer.notes)) == ("CCO", "neighbour", 3, 3)


def test_without_examples_the_models_last_words_are_its_answer():
    answer = ask_model(Model("no", '{"smiles": "C1CC"}'), examples=(), repairs=1)
    assert (answer.text, answer.origin) == ("C1CC", "candidate")
    answer = ask_model(Model(Reply("", "the server's reply is not JSON")), examples=(), repairs=0)
    assert (answer.text, answer.origin) == ("", "candidate")


def test_a_body_without_a_message_is_asked_for_again_with_the_same_words():
    model = Model(Reply("", "the server's reply holds no choices"), '{"caption": "An alcohol."}')
    answer = ask_model(model, "mol2cap")
    assert (answer.text, answer.origin, answer.attempts) == ("An alcohol.", "repaired", 2)
    assert model.sent == [PROMPT, PROMPT]
    assert answer.notes == ("attempt 1: the server's reply holds no choices",)


def test_a_reply_cut_at_the_token_limit_is_noted():
    cut = Reply('{"caption": "An alc', finish_reason="length")
    answer = ask_model(Model(cut), "mol2cap", repairs=0)
    assert (answer.text, answer.origin) == ("An alc", "candidate")
    assert answer.notes == ("attempt 1: the JSON object of the reply is cut off or malformed (cut at the token limit)",)
