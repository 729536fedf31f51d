"""The translation memory: what it finds, that it is kept, and that the translation model is shown it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.spoken import Side, SpokenPair
from polyvoice.stages.translate.data import disturb_text, make_examples
from polyvoice.stages.translate.decoding import TranslateOptions, UnitTranslator
from polyvoice.stages.translate.memory import FILE, Recalled, TranslationMemory
from polyvoice.stages.translate.settings import CorpusSettings
from polyvoice.tasks import Direction, build_translation_vocabulary, translate_text
from unitlm.alphabet import Bytes
from unitlm.vocabulary import Vocabulary

WAY = Direction("zh", "en")
TEXTS = st.lists(st.text(alphabet="abcd 你好", max_size=6), min_size=1, max_size=8, unique=True)


def remember(*pairs: tuple[str, str]) -> TranslationMemory:
    return TranslationMemory((WAY, source, target) for source, target in pairs)


def measure(left: str, right: str, texts: list[str]) -> float:
    """Cosine of the n-grams of two texts, among all that are known; the long way round."""

    def count(text: str) -> Counter[str]:
        marked = f"\x02{' '.join(text.lower().split())}\x03"
        return Counter(marked[at : at + n] for n in (1, 2, 3) for at in range(len(marked) - n + 1))

    known = [count(text) for text in texts]

    def weigh(text: str) -> dict[str, float]:
        seen = {gram: sum(gram in one for one in known) for gram in count(text)}
        return {
            gram: (1 + math.log(times)) * math.sqrt(math.log(max(len(texts), 2) / seen[gram]))
            for gram, times in count(text).items()
            if seen[gram]
        }

    one, two = weigh(left), weigh(right)
    product = sum(value * two.get(gram, 0.0) for gram, value in one.items())
    lengths = [math.sqrt(sum(value**2 for value in side.values())) for side in (one, two)]
    return product / (lengths[0] * lengths[1]) if all(lengths) else 0.0


@given(TEXTS, st.text(alphabet="abcd 你好", max_size=6))
def test_the_nearest_come_first(texts: list[str], asked: str) -> None:
    memory = remember(*((text, str(number)) for number, text in enumerate(texts)))
    found = memory.recall(asked, WAY, len(texts))
    near = sorted((measure(asked, text, texts) for text in texts), reverse=True)
    assert [one.similarity for one in found] == pytest.approx([one for one in near if one > 1e-7], abs=1e-5)
    for one in found:
        assert one.source == texts[int(one.target)]
        assert one.similarity == pytest.approx(measure(asked, one.source, texts), abs=1e-5)


def test_both_sides_are_found_whichever_was_given_first() -> None:
    memory = TranslationMemory(
        [
            (WAY, "他来了。", "He came."),
            (Direction("en", "zh"), "She left.", "她走了。"),
            (Direction("en", "zh"), "He came.", "他来了。"),
            (Direction("es", "en"), "Ya viene.", "He is coming."),
        ]
    )
    assert len(memory) == 3
    [found] = memory.recall("她走", WAY, 3)  # what both sentences have finds neither
    assert (found.source, found.target) == ("她走了。", "She left.")
    assert memory.recall("he CAME", Direction("en", "zh"), 1)[0].target == "他来了。"
    assert memory.recall("viene", Direction("es", "en"), 1)[0].target == "He is coming."
    assert memory.recall("viene", Direction("es", "zh"), 1) == []
    assert memory.recall("他来了。", WAY, 0) == []


def test_in_training_a_sentence_is_not_told_its_own_translation() -> None:
    memory = remember(("他来了。", "He came."), ("他来了。", "He's here."), ("他走了。", "He left."), ("好", "Good"))
    assert [one.target for one in memory.recall("他来了。", WAY, 3)] == ["He came.", "He's here.", "He left."]
    [others] = memory.recall_all(["他来了。"], WAY, 3)
    assert [one.target for one in others] == ["He left."]


def test_other_translations_of_a_sentence_do_not_hide_its_neighbours() -> None:
    same = [("天气很好。", f"It is fine, {number}.") for number in range(40)]
    memory = remember(*same, ("天气不好。", "It is not."), ("他来了。", "He came."))
    [others] = memory.recall_all(["天气很好。"], WAY, 1)
    assert [one.target for one in others] == ["It is not."]


def test_what_every_sentence_has_finds_none() -> None:
    memory = remember(*((f"{chr(0x4E00 + number)}。", str(number)) for number in range(1_200)))
    assert memory.recall("。", WAY, 3) == []
    assert memory.recall("\u4e05。", WAY, 3)[0].target == "5"


def test_a_memory_is_read_back_as_it_was(tmp_path: Path) -> None:
    memory = TranslationMemory([(WAY, "好", "Good."), (Direction("es", "en"), "Sí.", "Yes.")])
    memory.save(tmp_path / FILE)
    assert list(TranslationMemory.load(tmp_path / FILE)) == list(memory)
    (tmp_path / FILE).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a translation memory"):
        TranslationMemory.load(tmp_path / FILE)


def spell() -> Vocabulary:
    return build_translation_vocabulary([WAY], 10, [Bytes("zh.text"), Bytes("en.text")])


def spoken(source: str, target: str) -> SpokenPair:
    return SpokenPair("pair", Side("zh", source, None, None), Side("en", target, None, None), None)


def test_neighbours_need_text_that_is_translated() -> None:
    for without in ({"text": "none"}, {"mt_share": 0.0}):
        with pytest.raises(InputError, match="neighbours are shown where text is translated"):
            CorpusSettings(neighbours=1, **without)  # type: ignore[arg-type]


def test_neighbours_are_shown_and_not_learned() -> None:
    settings, vocabulary = CorpusSettings(text="bytes", neighbours=2, mt_share=1.0), spell()
    near = [Recalled("近", "near", 0.9), Recalled("远", "far", 0.2), Recalled("外", "out", 0.1)]
    task, counts = translate_text("zh", "en"), Counter[tuple[str, ...]]()
    for number in range(200):
        [example] = make_examples(spoken("好", "good"), vocabulary, settings, number, 0, near)
        *shown, asked = task.decode(example.ids.tolist(), vocabulary)
        assert asked == {"src": "好", "tgt": "good"}
        assert {(one["src"], one["tgt"]) for one in shown} <= {(one.source, one.target) for one in near}
        assert int(example.loss_mask.sum()) == len("good") + 1
        counts[tuple(str(one["tgt"]) for one in shown)] += 1
    assert set(counts) >= {(), ("near",), ("far", "near")}  # the nearest stands last
    assert max(map(len, counts)) == 2
    assert counts[("near",)] > counts[("far",)]
    # What is watched is shown the nearest.
    for number in range(20):
        [example] = make_examples(spoken("好", "good"), vocabulary, settings, number, 0, near, nearest=True)
        *shown, _ = task.decode(example.ids.tolist(), vocabulary)
        assert [one["tgt"] for one in shown] == ["far", "near"]


def test_only_neighbours_that_fit_are_shown() -> None:
    vocabulary = spell()
    task, asked = translate_text("zh", "en"), {"src": "a", "tgt": "b"}
    shown = [{"src": "c" * 50, "tgt": "d"}, {"src": "e", "tgt": "f"}]
    lengths = [len(task.compile(asked, vocabulary, shown[first:]).ids) for first in range(3)]
    for longest, expected in ((lengths[0], 0), (lengths[0] - 1, 1), (lengths[1] - 1, 2)):
        compiled = task.compile_within(asked, vocabulary, shown, longest)
        assert compiled is not None
        assert len(compiled.ids) == lengths[expected]
    assert task.compile_within(asked, vocabulary, shown, 1) is None
    # What does not fit even alone is made alone; the writer leaves it out, and counts it.
    settings = CorpusSettings(text="bytes", neighbours=2, mt_share=1.0)
    near = [Recalled("近", "near", 0.9)]
    [example] = make_examples(spoken("a", "b"), vocabulary, settings, 0, 0, near, None, 1)
    assert len(example.ids) == lengths[2]


def test_letters_are_dropped_or_replaced_at_the_rate() -> None:
    chance = np.random.default_rng(3)
    text = "a" * 20_000
    heard = disturb_text(text, "b", 0.2, chance)
    assert len(heard) / len(text) == pytest.approx(0.9, abs=0.01)
    assert heard.count("b") / len(text) == pytest.approx(0.1, abs=0.01)
    assert disturb_text(text, "b", 0.0, chance) == text
    assert disturb_text("x", "b", 1.0, np.random.default_rng(1)) in ("x", "b")


@pytest.fixture(scope="module")
def folder(toy_corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("memory") / "run"
    options = [
        "--preset",
        "tiny",
        "--pieces",
        "300",
        "--neighbours",
        "2",
        "--text-noise-rate",
        "0.1",
        "--mt-share",
        "1",
    ]
    options += ["--steps", "2", "--batch-rows", "4", "--micro-batch-rows", "4", "--sequence-length", "128"]
    assert run(["train", "translate", *map(str, toy_corpus), str(out), *options, "--device", "cpu"]) == 0
    return out / "model"


def test_a_model_keeps_its_memory_and_is_shown_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = UnitTranslator.load(folder)
    memory = translator._memory
    assert memory is not None
    [known, *_] = [one for one in memory if str(one[0]) == "zh-en"]
    asked: list[tuple[str, str, int]] = []

    def recall(text: str, way: Direction, count: int) -> list[Recalled]:
        asked.append((text, str(way), count))
        return [Recalled(known[1], known[2], 0.5)]

    monkeypatch.setattr(memory, "recall", recall)
    prompts: list[list[int]] = []
    search = translator._search

    def watch(some: object, slot: object, options: object) -> object:
        prompts.append([len(each) for each in some.prompts])  # type: ignore[attr-defined]
        return search(some, slot, options)  # type: ignore[arg-type]

    monkeypatch.setattr(translator, "_search", watch)
    translator.translate_text("好", "zh", "en")
    assert asked == [("好", "zh-en", 2)]  # no more than in training
    assert prompts == [[2]]
    units = [np.array([1, 2, 3]), np.array([1, 3]), np.array([1, 2])]
    made = translator.translate_views(units, "zh", "en", options=TranslateOptions(route="chain", neighbours=1))
    assert asked[1:] == [(made.text_heard, "zh-en", 1)]
    assert prompts[1:] == [[3], [2]]  # three views are heard; one, and the neighbours, say what it means
    translator.translate_text("好", "zh", "en", options=TranslateOptions(neighbours=0))
    translator.recognize(np.array([1, 2, 3]), "zh")
    assert len(asked) == 2
