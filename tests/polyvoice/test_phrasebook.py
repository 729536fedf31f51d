"""The sentences of the phrasebook: golden lines, agreement over all of them, sampling and splits.

After a reviewed change of words or templates, `python tests/polyvoice/test_phrasebook.py` writes the golden file anew.
"""

import random
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.phrasebook.entries import Noun
from polyvoice.corpus.phrasebook.grammar import Phrase, all_phrases, count_phrases, is_sensible, list_fillers, realise
from polyvoice.corpus.phrasebook.lexicon import load_lexicon
from polyvoice.corpus.phrasebook.sampling import phrases, words_of
from polyvoice.corpus.phrasebook.templates import Reference, Template, load_templates
from polyvoice.errors import InputError

GOLDEN = Path(__file__).with_name("phrasebook_golden.tsv")
HEADER = ["template", "fillers", "zh", "en", "es"]
NOUNS = [entry for entries in load_lexicon().by_tag.values() for entry in entries if isinstance(entry, Noun)]


@pytest.fixture(scope="module")
def everything() -> list[Phrase]:
    return list(all_phrases())


def choose_example(template: Template) -> Phrase:
    """One phrase of a template, the same one whatever the other templates are."""
    generator = random.Random(template.name)
    while True:
        entries = tuple(generator.choice(choices) for choices in list_fillers(template))
        if is_sensible(entries):
            return realise(template, entries)


def test_golden_lines() -> None:
    rows = [line.split("\t") for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == HEADER
    templates = {template.name: template for template in load_templates() if template.slots}
    assert [row[0] for row in rows[1:]] == list(templates)
    for name, fillers, *texts in rows[1:]:
        template = templates[name]
        entries = tuple(
            next(entry for entry in choices if entry.key == key)
            for choices, key in zip(list_fillers(template), fillers.split(" | "), strict=True)
        )
        phrase = realise(template, entries)
        assert [phrase.zh, phrase.en, phrase.es] == texts


def test_size(everything: list[Phrase]) -> None:
    counts = count_phrases()
    assert 40_000 <= len(everything) <= 200_000
    assert sum(counts.values()) == len(everything)
    assert Counter(phrase.template for phrase in everything) == counts
    assert len(counts) >= 120
    assert min(counts.values()) >= 1


def test_no_sentence_is_said_twice(everything: list[Phrase]) -> None:
    for texts in ([phrase.zh for phrase in everything], [phrase.en for phrase in everything]):
        assert len(set(texts)) == len(everything)
    assert len({phrase.es for phrase in everything}) == len(everything)
    assert len({phrase.key for phrase in everything}) == len(everything)


def find(pattern: str, texts: list[str]) -> list[str]:
    return [text for text in texts if re.search(pattern, text)]


def test_english(everything: list[Phrase]) -> None:
    texts = [phrase.en for phrase in everything]
    assert not find(r"^(?![A-Z][A-Za-z', -]*[.!?]$)", texts)
    assert not find(r"  |[{}@]| [.,!?]", texts)
    assert not find(r"\b[Aa] (?!uni|euro)[aeiou]", texts)
    assert not find(r"\b[Aa]n [^aeiou]", texts)
    assert not find(r"\b(?:I|[Ww]e|[Yy]ou|[Tt]hey|(?:parents|children)) (?:is|has|does|was(?<!I was))\b", texts)
    assert not find(r"\b(?:[Hh]e|mother|father|son) (?:are|have|do|don't)\b", texts)
    assert not find(r"\b(?:two|three|four|five|six|seven|eight|nine|ten) (?:apple|book|pair|day|dollar)\b", texts)


def test_spanish(everything: list[Phrase]) -> None:
    texts = [phrase.es for phrase in everything]
    assert not find(r"[^A-Za-zÁÉÍÓÚÜÑáéíóúüñ ,.!?¡¿]", texts)
    assert not find(r"  | [.,!?]|[¿¡] ", texts)
    assert not find(r"^[¿¡]?[^A-ZÁÉÍÓÚÑ¿¡]", texts)
    assert not find(r"^[^.!?]*[^.!?]$", texts)
    assert all(text.count("¿") == text.count("?") and text.count("¡") == text.count("!") for text in texts)
    assert not find(r"\b[Dd]e el\b|\b[Aa] el\b|\by (?:i|hi[^e])|\bo (?:o|ho)", texts)


def test_spanish_numbers_and_articles_agree_with_nouns(everything: list[Phrase]) -> None:
    masculine = {noun.spanish.split(" ")[0] for noun in NOUNS if noun.gender == "m"}
    masculine |= {noun.spanish_plural.split(" ")[0] for noun in NOUNS if noun.gender == "m"}
    feminine = {noun.spanish.split(" ")[0] for noun in NOUNS if noun.gender == "f" and not noun.stressed_a}
    feminine |= {noun.spanish_plural.split(" ")[0] for noun in NOUNS if noun.gender == "f"}
    both = masculine & feminine | {"música", "café", "médico", "médica"}
    with_masculine = re.compile(r"\b(?:el|los|un|unos|este|estos|del|al|veintiún|cuántos) (\w+)", re.IGNORECASE)
    with_feminine = re.compile(r"\b(?:la|las|una|unas|esta|estas|veintiuna|cuántas) (\w+)", re.IGNORECASE)
    for phrase in everything:
        for word in with_masculine.findall(phrase.es):
            assert word not in feminine - both, phrase.es
        for word in with_feminine.findall(phrase.es):
            assert word not in masculine - both, phrase.es
        for word in re.findall(r"uno (\w+)", phrase.es):
            assert word not in masculine | feminine, phrase.es


def test_chinese(everything: list[Phrase]) -> None:
    texts = [phrase.zh for phrase in everything]
    measures = "|".join(sorted({noun.measure for noun in NOUNS if noun.measure}))
    assert not find(r"[^\u4e00-\u9fff，。！？]", texts)
    assert not find(r"[^。！？]$|[，。！？][，。！？]", texts)
    assert not find(rf"(?<![十百零第])二(?:{measures})(?<!二月)", texts)
    assert not find(rf"两(?!{measures}|百|千|点|次)", texts)
    assert not find(r"十两|星期两|两月|两号", texts)


def test_splits(everything: list[Phrase]) -> None:
    train = [phrase for phrase in everything if phrase.split == "train"]
    held_out = [phrase for phrase in everything if phrase.split != "train"]
    known: set[str] = set()
    for phrase in train:
        known |= words_of(phrase)
    assert not {word for phrase in held_out for word in words_of(phrase)} - known
    train_pairs = {frozenset(pair) for phrase in train for pair in combinations(phrase.fillers, 2)}
    unseen = [phrase for phrase in held_out if phrase.unseen_pair]
    assert all(any(frozenset(pair) not in train_pairs for pair in combinations(phrase.fillers, 2)) for phrase in unseen)
    assert {phrase.split for phrase in unseen} == {"test"}
    shares = Counter(phrase.split for phrase in everything)
    assert 0.9 < shares["train"] / len(everything) < 0.97
    assert 0.01 < shares["dev"] / len(everything) < 0.03
    assert len(unseen) > 1000


def test_sample_is_deterministic_and_without_repetition() -> None:
    sample = phrases(3, 3000)
    assert sample == phrases(3, 3000)
    assert sample != phrases(4, 3000)
    assert len(sample) == 3000
    for texts in ([phrase.en for phrase in sample], [phrase.es for phrase in sample], [phrase.zh for phrase in sample]):
        assert len(set(texts)) == len(sample)


def test_sample_is_balanced_over_templates_and_words() -> None:
    sample = phrases(0, 3000)
    counts = Counter(phrase.template for phrase in sample)
    sizes = count_phrases()
    assert set(counts) == set(sizes)
    unexhausted = [counts[name] for name in counts if sizes[name] > 50]
    assert max(unexhausted) - min(unexhausted) <= 2
    cities = Counter(phrase.fillers[1] for phrase in sample if phrase.template == "travel.tickets_to")
    assert max(cities.values()) <= 2


def test_words_of_a_small_sample_are_all_in_its_train() -> None:
    sample = phrases(1, 700)
    known: set[str] = set()
    for phrase in sample:
        if phrase.split == "train":
            known |= words_of(phrase)
    held_out = [phrase for phrase in sample if phrase.split != "train"]
    assert held_out
    assert all(words_of(phrase) <= known for phrase in held_out)


def test_sample_of_one_split() -> None:
    assert {phrase.split for phrase in phrases(0, 200, splits=("test",))} == {"test"}


def test_sample_of_some_domains() -> None:
    sample = phrases(0, 300, domains=("weather", "time"))
    assert {phrase.template.partition(".")[0] for phrase in sample} == {"weather", "time"}
    available = sum(size for name, size in count_phrases().items() if name.startswith("weather."))
    with pytest.raises(InputError, match=f"the domains have {available}"):
        phrases(0, available + 1, domains=("weather",))
    with pytest.raises(InputError, match=r"no domain 'sports'; there are .*weather"):
        phrases(0, 10, domains=("weather", "sports"))


def test_pairs_of_texts_are_a_manifest_that_training_reads(tmp_path: Path) -> None:
    out = tmp_path / "texts.tsv"
    assert run(["corpus", "phrasebook", "--out", str(out), "--pairs", "--count", "40", "--domains", "numbers"]) == 0
    rows = read_manifest(out)
    drawn = phrases(0, 40, domains=("numbers",))
    assert [(row.source_text, row.target_text) for row in rows if row.source_lang == "zh"] == [
        (phrase.zh, phrase.en) for phrase in drawn
    ]
    assert [row.split for row in rows if row.source_lang == "es"] == [phrase.split for phrase in drawn]
    assert not any(row.source_audio or row.target_audio for row in rows)


def test_more_than_there_is() -> None:
    with pytest.raises(InputError, match="1000000 phrases: the grammar has"):
        phrases(0, 1_000_000)


def test_key_is_the_meanings_alone() -> None:
    template = next(template for template in load_templates() if template.name == "travel.tickets_to")
    entries = tuple(choices[0] for choices in list_fillers(template))
    assert realise(template, entries).key == "0865e1c2650258b8"


def test_a_form_that_is_not_there_names_the_line() -> None:
    template = Template("a.b", (("x", "clothes"),), (("Buy ", Reference("x", "sing")), (), ()), "domains/a.txt:7")
    with pytest.raises(InputError, match=r"domains/a.txt:7: noun shirt has no form sing"):
        realise(template, (list_fillers(template)[0][0],))


if __name__ == "__main__":
    examples = [choose_example(template) for template in load_templates() if template.slots]
    lines = [[e.template, " | ".join(e.fillers), e.zh, e.en, e.es] for e in examples]
    GOLDEN.write_text("".join("\t".join(line) + "\n" for line in [HEADER, *lines]), encoding="utf-8")
