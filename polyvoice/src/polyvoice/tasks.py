"""The tasks of PolyVoice, each said in one line, for any set of languages and directions.

One translation model learns them together, so that recognised and translated text, where there is some, helps the
translation of units (arXiv 2306.02982); the duration model and the first level of the speech synthesiser
are one line each as well. A language is a code such as `zh`.

All languages share one alphabet of units, because they share one k-means: a sound that two languages have is then
learned once, which is what a small multilingual model needs most. Hence a line names the language before each slot of
units. Text has an alphabet for each language, such as `zh.text`, which names the language by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polyvoice.errors import InputError
from polyvoice.languages import check_language
from unitlm.alphabet import Alphabet, Units
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

UNITS = "units"
"""The alphabet of all languages' units."""

TEXT = ".text"
"""What the alphabet of a language's text is called, behind the language."""

DURATIONS = "durations"
"""The alphabet of run lengths, in frames; a length is its own id."""


@dataclass(frozen=True, order=True)
class Direction:
    """From which language into which.

    Attributes:
        source: such as `zh`.
        target: such as `en`.

    Raises:
        InputError: a language is not a code such as `zh`, or both are the same.
    """

    source: str
    target: str

    def __post_init__(self) -> None:
        check_language(self.source)
        check_language(self.target)
        if self.source == self.target:
            raise InputError(f"source and target language are both {self.source!r}")

    @classmethod
    def parse(cls, text: str) -> Direction:
        """Read `zh-en`; InputError when it is something else."""
        source, dash, target = text.partition("-")
        if not dash:
            raise InputError(f"direction {text!r} is not written like 'zh-en'")
        return cls(source, target)

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


def parse_directions(texts: Iterable[object], where: str) -> tuple[Direction, ...]:
    """Read directions as a file has them; InputError that begins with `where` when one is something else."""
    try:
        return tuple(Direction.parse(str(text)) for text in texts)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def languages_of(directions: Iterable[Direction]) -> tuple[str, ...]:
    """All languages of some directions, in order of appearance."""
    return tuple(dict.fromkeys(language for each in directions for language in (each.source, each.target)))


def translate_speech(source: str, target: str) -> Task:
    """S2ST: source units to target units, both without repeats."""
    return _task("translate SRC {src:units} to TGT {tgt:units!}", source, target)


def recognize_speech(language: str) -> Task:
    """ASR: units to text of the same language."""
    return _task("transcribe SRC {speech:units} as {text:SRC.text!}", language)


def translate_text(source: str, target: str) -> Task:
    """MT: text to text."""
    return _task("translate {src:SRC.text} to {tgt:TGT.text!}", source, target)


def speak_text(language: str) -> Task:
    """TTS, as far as units: text to units of the same language."""
    return _task("speak {text:SRC.text} as SRC {speech:units!}", language)


def translate_speech_to_text(source: str, target: str) -> Task:
    """ST: source units to target text."""
    return _task("translate SRC {src:units} to {tgt:TGT.text!}", source, target)


def translate_speech_by_text(source: str, target: str) -> Task:
    """The chain: source units, source text, target text, target units; the last three are generated in turn."""
    line = "translate SRC {src:units} by way of {heard:SRC.text!} and {said:TGT.text!} to TGT {tgt:units!}"
    return _task(line, source, target)


def predict_durations(source: str, target: str) -> Task:
    """Run lengths of the target units, from both unit sequences and the run lengths of the source, in frames."""
    line = "time TGT {tgt:units} after SRC {src:units} with {src_lengths:durations} as {tgt_lengths:durations!}"
    return _task(line, source, target)


def synthesize_first_level(source: str, target: str) -> Task:
    """Codec level 0 of the target, in the voice of the source.

    Both unit sequences are expanded here, one unit a frame, so that the length of what is generated is known.
    """
    line = "voice SRC {src:units} TGT {tgt:units} like {src_codes:codec.0} as {tgt_codes:codec.0!}"
    return _task(line, source, target)


def translation_tasks(direction: Direction, written: Iterable[str]) -> tuple[Task, ...]:
    """What the translation model learns of one direction; whatever needs text is left out where there is none.

    Speech is recognised in the source language and spoken in the target language: what the chain is made of. Both
    languages get both when the opposite direction is learned too.

    Args:
        direction: from which language into which.
        written: the languages that have text.
    """
    source, target = direction.source, direction.target
    heard, said = source in written, target in written
    tasks = [translate_speech(source, target)]
    if heard:
        tasks.append(recognize_speech(source))
    if said:
        tasks += [speak_text(target), translate_speech_to_text(source, target)]
    if heard and said:
        tasks += [translate_text(source, target), translate_speech_by_text(source, target)]
    return tuple(tasks)


def build_translation_vocabulary(
    directions: Sequence[Direction], clusters: int, texts: Iterable[Alphabet] = ()
) -> Vocabulary:
    """The vocabulary in which all `translation_tasks` of some directions can be written.

    Args:
        directions: at least one.
        clusters: how many units the k-means has.
        texts: for each language that is written, its alphabet, named such as `zh.text`.

    Raises:
        InputError: there is no direction, or an alphabet that no direction needs.
    """
    if not directions:
        raise InputError("a translation model needs at least one direction such as 'zh-en'")
    languages = languages_of(directions)
    alphabets = list(texts)
    written = [alphabet.name.removesuffix(TEXT) for alphabet in alphabets]
    for language in written:
        if language not in languages:
            raise InputError(f"alphabet '{language}.text' belongs to none of the languages {', '.join(languages)}")
    tasks = [task for direction in directions for task in translation_tasks(direction, written)]
    return Vocabulary.build([Units(UNITS, clusters), *alphabets], tasks)


def _task(line: str, source: str, target: str = "") -> Task:
    for placeholder, language in (("SRC", source), ("TGT", target)):
        if placeholder in line:
            check_language(language)
            line = line.replace(placeholder, language)
    return Task.parse(line)
