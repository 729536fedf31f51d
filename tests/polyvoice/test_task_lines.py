"""PolyVoice's tasks: each line can be written and read back, and asks for the right thing."""

import pytest

from polyvoice.errors import InputError
from polyvoice.tasks import (
    Direction,
    build_translation_vocabulary,
    languages_of,
    predict_durations,
    synthesize_first_level,
    translate_speech,
    translate_speech_by_text,
    translation_tasks,
)
from unitlm.alphabet import Bytes, Units
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

DIRECTIONS = [Direction.parse(text) for text in ("zh-en", "en-zh", "en-es", "es-en")]
LANGUAGES = ["zh", "en", "es"]
CONTENT = {
    "units": [5, 99, 0, 7],
    "zh.text": "你好吗？",
    "en.text": "how are you?",
    "es.text": "¿cómo estás?",
    "durations": [1, 60, 2, 9],
    "codec.0": [31, 0, 31],
}
EVERY_TASK = list(
    {task.line: task for direction in DIRECTIONS for task in translation_tasks(direction, LANGUAGES)}.values()
)


def vocabulary() -> Vocabulary:
    return build_translation_vocabulary(DIRECTIONS, 100, [Bytes(f"{language}.text") for language in LANGUAGES])


def content_for(task: Task) -> dict[str, object]:
    return {slot.name: CONTENT[slot.alphabet] for slot in task.slots}


def test_a_direction_has_every_task_once() -> None:
    assert {task.line for task in translation_tasks(DIRECTIONS[0], LANGUAGES)} == {
        "translate zh {src:units} to en {tgt:units!}",
        "transcribe zh {speech:units} as {text:zh.text!}",
        "speak {text:en.text} as en {speech:units!}",
        "translate zh {src:units} to {tgt:en.text!}",
        "translate {src:zh.text} to {tgt:en.text!}",
        "translate zh {src:units} by way of {heard:zh.text!} and {said:en.text!} to en {tgt:units!}",
    }


def test_a_language_without_writing_has_no_tasks_with_text() -> None:
    lines = [task.line for task in translation_tasks(Direction("zh", "nan"), ["zh"])]
    assert lines == ["translate zh {src:units} to nan {tgt:units!}", "transcribe zh {speech:units} as {text:zh.text!}"]
    assert [task.line for task in translation_tasks(Direction("nan", "en"), ["en"])] == [
        "translate nan {src:units} to en {tgt:units!}",
        "speak {text:en.text} as en {speech:units!}",
        "translate nan {src:units} to {tgt:en.text!}",
    ]
    unwritten = build_translation_vocabulary([Direction("nan", "ami")], 100)
    assert list(unwritten.alphabets) == ["units"]


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: task.line)
def test_a_line_is_written_and_read_back(task: Task) -> None:
    values = content_for(task)
    compiled = task.compile(values, vocabulary())
    assert task.decode(compiled.ids, vocabulary()) == [values]
    learned = {position for position, is_learned in enumerate(compiled.loss_mask) if is_learned}
    expected = {
        position for span in compiled.spans if span.slot.generated for position in range(span.start, span.stop + 1)
    }
    assert learned == expected
    assert learned


def test_one_vocabulary_covers_all_directions_and_tells_them_apart() -> None:
    shared = vocabulary()
    assert list(shared.alphabets) == ["units", "zh.text", "en.text", "es.text"]
    written = [tuple(translate_speech(d.source, d.target).prompt({"src": [5]}, shared).ids) for d in DIRECTIONS]
    assert len(set(written)) == len(DIRECTIONS)


def test_a_prompt_ends_where_the_model_takes_over() -> None:
    prompt = translate_speech("zh", "en").prompt({"src": [5, 99]}, vocabulary())
    tokens = [vocabulary().describe(token) for token in prompt.ids]
    expected = ["<begin>", "translate", "zh", "<units>", "units:5", "units:99", "<end>", "to", "en", "<units>"]
    assert tokens == expected
    assert prompt.slot.alphabet == "units"


def test_the_chain_is_generated_link_by_link() -> None:
    task = translate_speech_by_text("zh", "en")
    values: dict[str, object] = {"src": CONTENT["units"]}
    asked = []
    while len(values) < 4:
        slot = task.prompt(values, vocabulary()).slot
        asked.append(slot.alphabet)
        values[slot.name] = CONTENT[slot.alphabet]
    assert asked == ["zh.text", "en.text", "units"]


def test_durations_and_first_level_see_what_the_design_gives_them() -> None:
    task = predict_durations("zh", "en")
    assert [(slot.name, slot.alphabet, slot.generated) for slot in task.slots] == [
        ("tgt", "units", False),
        ("src", "units", False),
        ("src_lengths", "durations", False),
        ("tgt_lengths", "durations", True),
    ]
    voice = [(slot.name, slot.generated) for slot in synthesize_first_level("zh", "en").slots]
    assert voice == [("src", False), ("tgt", False), ("src_codes", False), ("tgt_codes", True)]
    for line in (task, synthesize_first_level("zh", "en")):
        alphabets = [Units("units", 100), Units("durations", 61), Units("codec.0", 32)]
        stage = Vocabulary.build(alphabets, [line])
        assert line.decode(line.compile(content_for(line), stage).ids, stage) == [content_for(line)]


@pytest.mark.parametrize("text", ["ZH-en", "zh-en-US", "-en", "zh-zh", "zh"])
def test_directions_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match=r"language|direction"):
        Direction.parse(text)


def test_a_vocabulary_needs_directions_and_no_other_languages_text() -> None:
    with pytest.raises(InputError, match="at least one direction"):
        build_translation_vocabulary([], 100)
    with pytest.raises(InputError, match=r"'fr\.text' belongs to none of the languages zh, en"):
        build_translation_vocabulary(DIRECTIONS[:1], 100, [Bytes("fr.text")])
    assert languages_of(DIRECTIONS) == ("zh", "en", "es")
