"""Phrases drawn from the grammar: as many as wanted, never one twice, balanced over templates and words."""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

from polyvoice.corpus.phrasebook.entries import Entry
from polyvoice.corpus.phrasebook.grammar import Phrase, Split, count_phrases, is_sensible, list_fillers, realise
from polyvoice.corpus.phrasebook.templates import Template, load_templates
from polyvoice.errors import InputError

_SPLITS: tuple[Split, ...] = ("train", "dev", "test")
_MISSES = 20  # so many repeated combinations in a row say that few new ones are left to be found by chance


def phrases(seed: int, count: int, *, splits: Sequence[Split] = _SPLITS, domains: Sequence[str] = ()) -> list[Phrase]:
    """Draw phrases; the same seed and count give the same ones.

    Each template in turn gives one phrase until it has no more, so that a template of a thousand numbers has no more
    part in the corpus than one of forty verbs; within a template the words of a slot come equally often.

    Args:
        seed: of the order of templates and words; the split of a phrase does not depend on it.
        count: how many phrases.
        splits: draw from these only.
        domains: draw from these only, such as `travel`; from all if none is named.

    Returns:
        `count` phrases. Every English and Spanish word and every Chinese character of dev and test is in train
        too, where train is drawn as well.

    Raises:
        InputError: the grammar has fewer, or no such domain.
    """
    templates = _choose(domains)
    sizes = count_phrases()
    available = sum(sizes[template.name] for template in templates)
    if count > available:
        raise InputError(f"{count} phrases: {'the domains have' if domains else 'the grammar has'} {available}")
    generator = Random(seed)  # noqa: S311  # a corpus, not a secret
    source = _take_turns([_deal(template, Random(generator.random())) for template in templates], generator)  # noqa: S311
    wanted = (phrase for phrase in source if phrase.split in splits)
    drawn: list[Phrase] = []
    while len(drawn) < count:
        for phrase in wanted:
            drawn.append(phrase)
            if len(drawn) == count:
                break
        else:
            raise InputError(f"{count} phrases: the splits {', '.join(splits)} have {len(drawn)}")
        if "train" in splits:
            drawn = _drop_unknown_words(drawn)
    return drawn


def words_of(phrase: Phrase) -> frozenset[str]:
    """Return the words of a phrase in English and Spanish, without punctuation, and its Chinese characters."""
    marks = ".,!?¿¡。，！？"
    spoken = f"{phrase.en} {phrase.es}".casefold().split()
    return frozenset(word.strip(marks) for word in spoken) | frozenset(phrase.zh) - frozenset(marks)


def _choose(domains: Sequence[str]) -> list[Template]:
    templates = load_templates()
    known = sorted({template.domain for template in templates})
    if strange := [domain for domain in domains if domain not in known]:
        raise InputError(f"no domain {strange[0]!r}; there are {', '.join(known)}")
    return [template for template in templates if not domains or template.domain in domains]


def _deal(template: Template, generator: Random) -> Iterator[Phrase]:
    """Yield every phrase of a template once, in an order that balances the words of each slot."""
    choices = list_fillers(template)
    decks = [_shuffle_forever(entries, generator) for entries in choices]
    dealt: set[tuple[str, ...]] = set()

    def is_new(entries: tuple[Entry, ...]) -> bool:
        keys = tuple(entry.key for entry in entries)
        if keys in dealt or not is_sensible(entries):
            return False
        dealt.add(keys)
        return True

    misses = 0
    while misses < _MISSES:
        entries = tuple(next(deck) for deck in decks)
        if is_new(entries):
            misses = 0
            yield realise(template, entries)
        else:
            misses += 1
    rest = list(product(*choices))
    generator.shuffle(rest)
    yield from (realise(template, entries) for entries in rest if is_new(entries))


def _shuffle_forever(entries: Sequence[Entry], generator: Random) -> Iterator[Entry]:
    deck = list(entries)
    while True:
        generator.shuffle(deck)
        yield from deck


def _take_turns(sources: list[Iterator[Phrase]], generator: Random) -> Iterator[Phrase]:
    while sources:
        generator.shuffle(sources)
        left = []
        for source in sources:
            phrase = next(source, None)
            if phrase is not None:
                left.append(source)
                yield phrase
        sources = left


def _drop_unknown_words(drawn: Sequence[Phrase]) -> list[Phrase]:
    """Return the phrases without those of dev and test that have a word train has not."""
    known: set[str] = set()
    for phrase in drawn:
        if phrase.split == "train":
            known |= words_of(phrase)
    return [phrase for phrase in drawn if phrase.split == "train" or words_of(phrase) <= known]
