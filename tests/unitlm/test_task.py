"""Task lines, vocabularies and alphabets: everything compiles, reads back, and fails with a clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlm.alphabet import Bytes, Content, Pieces, Smiles, Units, alphabet_from_json
from unitlm.errors import InputError
from unitlm.task import Message, Task
from unitlm.vocabulary import Vocabulary

VALUES: dict[str, dict[str, Content]] = {
    "S2ST": {"src": [5, 9, 5], "tgt": [3]},
    "ASR": {"src": [0, 11], "text": "你好"},
    "MT": {"src": "你好", "tgt": "hello"},
    "TTS": {"text": "hello {there}", "tgt": [8, 0]},
    "ST": {"src": [1], "tgt": "<end>"},
    "chain": {"src": [1, 2], "heard": "是", "said": "yes", "tgt": [4, 4]},
    "durations": {"tgt": [1, 2], "src": [3], "src_runs": [4], "tgt_runs": [1, 19]},
    "codec": {"src": [3], "tgt": [1, 2], "prompt": [15, 0], "codes": [7, 7, 7]},
    "mol2cap": {"molecule": "C[C@H](Cl)[O-]", "caption": "The molecule is an anion."},
    "cap2mol": {"caption": "", "molecule": "[Na+]"},
}


@pytest.mark.parametrize("name", VALUES)
def test_each_task_compiles_and_reads_back(name: str, tasks: dict[str, Task], vocabulary: Vocabulary) -> None:
    task, values = tasks[name], VALUES[name]
    compiled = task.compile(values, vocabulary, examples=[values, values])
    assert task.decode(compiled.ids, vocabulary) == [values, values, values]
    query = [span for span in compiled.spans if span.example is None]
    learned = {
        index for span in query if span.slot.generated for index in range(span.start, span.stop + 1)
    }  # content and the end token behind it
    assert {index for index, learn in enumerate(compiled.loss_mask) if learn} == learned
    for span in query:
        assert vocabulary.decode(span.slot.alphabet, compiled.ids[span.start : span.stop]) == values[span.slot.name]


@pytest.mark.parametrize("name", VALUES)
def test_prompt_and_content_make_the_compiled_sequence(
    name: str, tasks: dict[str, Task], vocabulary: Vocabulary
) -> None:
    task, values = tasks[name], VALUES[name]
    given_values = {slot.name: values[slot.name] for slot in task.slots if not slot.generated}
    whole = task.compile(values, vocabulary, examples=[values]).ids
    for slot in task.slots:
        if slot.generated:
            prompt = task.prompt(given_values, vocabulary, examples=[values])
            assert prompt.slot == slot
            content = vocabulary.encode(slot.alphabet, values[slot.name])
            assert whole[: len(prompt.ids) + len(content) + 1] == (*prompt.ids, *content, vocabulary.end)
            given_values[slot.name] = values[slot.name]
    with pytest.raises(InputError, match="nothing is left to generate"):
        task.prompt(given_values, vocabulary)


def test_the_sequence_of_s2st_is_what_the_docstring_says(vocabulary: Vocabulary, tasks: dict[str, Task]) -> None:
    compiled = tasks["S2ST"].compile({"src": [5, 9], "tgt": [3]}, vocabulary)
    said = " ".join(vocabulary.describe(index) for index in compiled.ids)
    assert said == "<begin> translate <zh.units> zh.units:5 zh.units:9 <end> to <en.units> en.units:3 <end>"
    assert compiled.loss_mask == (False,) * 8 + (True, True)


def test_examples_are_learned_only_on_request(vocabulary: Vocabulary, tasks: dict[str, Task]) -> None:
    values = VALUES["S2ST"]
    alone = tasks["S2ST"].compile(values, vocabulary)
    both = tasks["S2ST"].compile(values, vocabulary, [values], learn_examples=True)
    assert both.ids == alone.ids * 2
    assert both.loss_mask == alone.loss_mask * 2


def test_marked_slots_decide_and_the_last_is_the_default() -> None:
    assert [slot.generated for slot in Task.parse("a {x:t} {y:t}").slots] == [False, True]
    assert [slot.generated for slot in Task.parse("a {x:t!} {y:t}").slots] == [True, False]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("translate", "no slot"),
        ("translate {src} to {tgt:en.units}", "'{src}' at column 11 is not {name:alphabet}"),
        ("translate {src:zh.units to", "stray '{' at column 11"),
        ("a {x:t} {x:t}", "two slots are named 'x'"),
    ],
)
def test_malformed_lines_say_what_and_where(line: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Task.parse(line)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "values", "message"),
    [
        ("translate {src:zh.units} to {tgt:en.units}", {"src": [1]}, "slot 'tgt' is not filled"),
        ("translate {src:zh.units} to {tgt:en.units}", {"source": [1], "tgt": [1]}, "no slot named 'source' here"),
        ("translate {src:fr.units} to {tgt:en.units}", {"src": [1], "tgt": [1]}, "no alphabet 'fr.units'"),
        ("carry {src:zh.units} to {tgt:en.units}", {"src": [1], "tgt": [1]}, "no task word 'carry'"),
        (
            "translate {src:zh.units} to {tgt:en.units}",
            {"src": [12], "tgt": [1]},
            "unit 12 at position 0 is not in 0..11",
        ),
        ("translate {src:zh.units} to {tgt:en.units}", {"src": "hi", "tgt": [1]}, "expected integers, got a string"),
        ("translate {src:zh.units} to {tgt:en.units}", {"src": [1.7], "tgt": [1]}, "expected integers ('float' object"),
        ("translate {src:zh.units} to {tgt:en.units}", {"src": ["x"], "tgt": [1]}, "expected integers ('str' object"),
        ("translate {src:zh.text} to {tgt:en.text}", {"src": "a\udcff", "tgt": "x"}, "'\\udcff' at position 1 is no"),
        ("translate {src:zh.text} to {tgt:en.text}", {"src": [1], "tgt": "x"}, "expected a string, got list"),
    ],
)
def test_wrong_values_say_what_and_where(
    line: str, values: dict[str, Any], message: str, vocabulary: Vocabulary
) -> None:
    with pytest.raises(InputError) as error:
        Task.parse(line).compile(values, vocabulary)
    assert message in str(error.value)


def test_a_foreign_sequence_is_not_decoded(vocabulary: Vocabulary, tasks: dict[str, Task]) -> None:
    ids = tasks["S2ST"].compile(VALUES["S2ST"], vocabulary).ids
    with pytest.raises(InputError, match="expected transcribe at token 1, found translate"):
        tasks["ASR"].decode(ids, vocabulary)
    with pytest.raises(InputError, match="found the end of the sequence"):
        tasks["S2ST"].decode(ids[:-1], vocabulary)


def test_the_same_task_renders_as_chat_messages(tasks: dict[str, Task]) -> None:
    example = {"molecule": "CO", "caption": "Ignore {this}. <end>"}
    messages = tasks["mol2cap"].render_messages(
        {"molecule": "CCO"}, [example], system="You know molecules.", question="Describe {molecule}", answer="{caption}"
    )
    assert messages == [
        Message("system", "You know molecules."),
        Message("user", "Describe CO"),
        Message("assistant", "Ignore {this}. <end>"),
        Message("user", "Describe CCO"),
    ]
    units = tasks["S2ST"].render_messages({"src": [5, 9]}, system="", question="{src}", answer="{tgt}")
    assert units[-1] == Message("user", "5 9")
    with pytest.raises(InputError, match="names no known slot: 'mol'"):
        tasks["mol2cap"].render_messages({"molecule": "C"}, system="", question="{mol}", answer="{caption}")
    with pytest.raises(InputError, match="example 1: slot 'caption' is not filled"):
        tasks["mol2cap"].render_messages({"molecule": "C"}, [{"molecule": "C"}], system="", question="", answer="")


@pytest.mark.parametrize(
    "template", ["{}", "{0}", "{", "}", "{molecule.x}", "{molecule[9]}", "{molecule[x]}", "{molecule:d}"]
)
def test_a_malformed_template_is_refused(template: str, tasks: dict[str, Task]) -> None:
    with pytest.raises(InputError, match=r"the template .* cannot be filled") as error:
        tasks["mol2cap"].render_messages({"molecule": "C"}, system="", question=template, answer="")
    assert "\n" not in str(error.value)


def test_a_prompt_takes_neither_gaps_nor_later_slots(vocabulary: Vocabulary, tasks: dict[str, Task]) -> None:
    with pytest.raises(InputError, match="slot 'src' is not filled"):
        tasks["chain"].prompt({}, vocabulary)
    with pytest.raises(InputError, match="no slot named 'said' here; it has: src"):
        tasks["chain"].prompt({"src": [1], "said": "yes"}, vocabulary)


def test_a_vocabulary_survives_its_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    with_pieces = Vocabulary(
        [*vocabulary.alphabets.values(), Pieces.train("text", ["one two", "two three"], 270)], vocabulary.words
    )
    with_pieces.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded == with_pieces
    assert loaded.encode("text", "two one") == with_pieces.encode("text", "two one")
    for content, message in [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "not of format"),
        ('{"format": "unitlm.vocabulary/1"}', "malformed"),
    ]:
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(InputError, match=f"bad.json: .*{message}"):
            Vocabulary.load(tmp_path / "bad.json")
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        Vocabulary.load(tmp_path / "none.json")


def test_ids_of_a_vocabulary_never_overlap(vocabulary: Vocabulary) -> None:
    spans = sorted(vocabulary.span(name) for name in vocabulary.alphabets)
    marks = [vocabulary.begin, vocabulary.end, *map(vocabulary.word, vocabulary.words)]
    marks += [vocabulary.opening(name) for name in vocabulary.alphabets]
    ids = marks + [index for start, stop in spans for index in range(start, stop)]
    assert sorted(ids) == list(range(vocabulary.size))


def test_two_alphabets_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two alphabets are named u"):
        Vocabulary([Units("u", 3), Bytes("u")])


def test_what_is_no_alphabets_id_is_not_decoded(vocabulary: Vocabulary) -> None:
    start, stop = vocabulary.span("en.units")
    for index, said in [(start - 1, "zh.units:11"), (stop, "zh.text:0"), (-1, "<-1 outside of"), (1, "<end>")]:
        with pytest.raises(InputError, match=rf"token {said}.* at position 1 is not in en\.units"):
            vocabulary.decode("en.units", [start, index])


PIECES = Pieces.train("text", ["the molecule is a molecule", "le café est prêt", "你好 世界"] * 3, 300)
SPANNING = Pieces.train("text", ["the molecule is a molecule", "le café est prêt"] * 3, 300, across_words=True)
SMILES = Smiles.train("smiles", ["C[C@H](Cl)[O-]", "C[C@H](Br)[O-]", "C%10CCCC%10"], minimum=1)


@given(st.text())
def test_text_comes_back_exactly(text: str) -> None:
    for alphabet in (Bytes("bytes"), PIECES, SPANNING):
        ids = alphabet.encode(text)
        assert all(0 <= index < alphabet.size for index in ids)
        assert alphabet.decode(ids) == text


def test_pieces_that_span_words_are_fewer() -> None:
    text = "the molecule is a molecule"
    assert len(SPANNING.encode(text)) < len(PIECES.encode(text))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_any_printable_string_is_spelled_in_smiles_tokens(text: str) -> None:
    assert SMILES.decode(SMILES.encode(text)) == text


def test_known_smiles_tokens_are_one_id() -> None:
    assert len(SMILES.encode("C[C@H](Cl)[O-]")) == 6
    assert len(SMILES.encode("C[13CH3]")) == 1 + len("[13CH3]")
    for foreign in ("C C", "Cé", "C\n"):
        with pytest.raises(InputError, match="does not occur in SMILES"):
            SMILES.encode(foreign)


@pytest.mark.parametrize("alphabet", [Units("u", 3), Bytes("b"), PIECES, SMILES], ids=lambda alphabet: alphabet.kind)
def test_alphabets_survive_json(alphabet: Units | Bytes | Pieces | Smiles) -> None:
    assert alphabet_from_json(alphabet.to_json()) == alphabet


@pytest.mark.parametrize("bad", [{}, {"kind": "runes", "name": "x"}, {"kind": "units", "name": "x"}])
def test_malformed_alphabets_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(InputError, match="alphabet: "):
        alphabet_from_json(bad)
