"""PolyVoice's tasks: each line can be written and read back, and asks for the right thing."""

import pytest

from polyvoice.errors import InputError
from polyvoice.tasks import (
    AlphabetSizes,
    build_vocabulary,
    pair_tasks,
    predict_durations,
    synthesize_first_level,
    translate_speech,
    translate_speech_by_text,
)
from unitlm.task import Task

SIZES = AlphabetSizes(source_units=100, target_units=50, longest_run=60, codec_levels=8, codebook_size=32)
CONTENT = {
    "zh.units": [5, 99, 0, 7],
    "en.units": [49, 3],
    "zh.text": "你好吗？",
    "en.text": "how are you?",
    "durations": [1, 60, 2, 9],
    "codec.0": [31, 0, 31],
}


def content_for(task: Task) -> dict[str, object]:
    return {slot.name: CONTENT[slot.alphabet] for slot in task.slots}


def test_a_pair_has_every_task_once() -> None:
    lines = [task.line for task in pair_tasks("zh", "en")]
    assert len(set(lines)) == len(lines) == 10
    assert "translate {src:zh.units} to {tgt:en.units!}" in lines
    assert "translate {src:zh.units} to {tgt:en.text!}" in lines
    assert "translate {src:zh.text} to {tgt:en.text!}" in lines
    assert "transcribe {speech:zh.units} as {text:zh.text!}" in lines
    assert "speak {text:en.text} as {speech:en.units!}" in lines


@pytest.mark.parametrize("task", pair_tasks("zh", "en"), ids=lambda task: task.line)
def test_a_line_is_written_and_read_back(task: Task) -> None:
    vocabulary = build_vocabulary("zh", "en", SIZES)
    values = content_for(task)
    compiled = task.compile(values, vocabulary)
    assert task.decode(compiled.ids, vocabulary) == [values]
    # With an example in context, both come back and only the query is learned.
    shown = task.compile(values, vocabulary, examples=[values])
    assert task.decode(shown.ids, vocabulary) == [values, values]
    assert sum(shown.loss_mask) == sum(compiled.loss_mask)


@pytest.mark.parametrize("task", pair_tasks("zh", "en"), ids=lambda task: task.line)
def test_exactly_the_generated_slots_are_learned(task: Task) -> None:
    vocabulary = build_vocabulary("zh", "en", SIZES)
    compiled = task.compile(content_for(task), vocabulary)
    learned = {position for position, is_learned in enumerate(compiled.loss_mask) if is_learned}
    expected = {
        position for span in compiled.spans if span.slot.generated for position in range(span.start, span.stop + 1)
    }
    assert learned == expected
    assert learned


def test_tasks_for_other_languages_differ_in_the_languages_only() -> None:
    chinese, spanish = pair_tasks("zh", "en"), pair_tasks("es", "fra")
    for one, other in zip(chinese, spanish, strict=True):
        assert one.line.replace("zh.", "es.").replace("en.", "fra.") == other.line
        assert other.compile(
            {slot.name: "a" if slot.alphabet.endswith("text") else [1] for slot in other.slots},
            build_vocabulary("es", "fra", SIZES),
        )


def test_a_prompt_ends_where_the_model_takes_over() -> None:
    vocabulary = build_vocabulary("zh", "en", SIZES)
    prompt = translate_speech("zh", "en").prompt({"src": [5, 99]}, vocabulary)
    tokens = [vocabulary.describe(token) for token in prompt.ids]
    assert tokens == ["<begin>", "translate", "<zh.units>", "zh.units:5", "zh.units:99", "<end>", "to", "<en.units>"]
    assert prompt.slot.alphabet == "en.units"


def test_the_chain_is_generated_link_by_link() -> None:
    vocabulary = build_vocabulary("zh", "en", SIZES)
    task = translate_speech_by_text("zh", "en")
    values: dict[str, object] = {"src": CONTENT["zh.units"]}
    asked = []
    while len(values) < 4:
        slot = task.prompt(values, vocabulary).slot
        asked.append(slot.alphabet)
        values[slot.name] = CONTENT[slot.alphabet]
    assert asked == ["zh.text", "en.text", "en.units"]


def test_durations_and_first_level_see_what_the_design_gives_them() -> None:
    durations = {slot.alphabet: slot.generated for slot in predict_durations("zh", "en").slots}
    assert durations == {"en.units": False, "zh.units": False, "durations": True}
    assert [slot.name for slot in predict_durations("zh", "en").slots][2:] == ["src_lengths", "tgt_lengths"]
    voice = [(slot.name, slot.generated) for slot in synthesize_first_level("zh", "en").slots]
    assert voice == [("src", False), ("tgt", False), ("src_codes", False), ("tgt_codes", True)]


@pytest.mark.parametrize(("source", "target"), [("ZH", "en"), ("zh", "en-US"), ("", "en"), ("zh", "zh")])
def test_languages_that_cannot_be(source: str, target: str) -> None:
    with pytest.raises(InputError, match="language"):
        build_vocabulary(source, target, SIZES)
