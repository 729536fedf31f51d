"""The tasks of PolyVoice, each said in one line, for any pair of languages.

One translation model learns them together, so that recognised and translated text, where there is some, helps the
translation of units (arXiv 2306.02982); the duration model and the first level of the speech synthesiser
are one line each as well. A language is a code such as `zh`; its alphabets are `zh.units` and `zh.text`.
"""

import re
from dataclasses import dataclass

from polyvoice.errors import InputError
from unitlm.alphabet import Bytes, Units
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

_LANGUAGE = re.compile(r"[a-z]{2,3}")


def translate_speech(source: str, target: str) -> Task:
    """S2ST: source units to target units, both without repeats."""
    return _task("translate {src:SRC.units} to {tgt:TGT.units!}", source, target)


def recognize_speech(language: str) -> Task:
    """ASR: units to text of the same language."""
    return _task("transcribe {speech:SRC.units} as {text:SRC.text!}", language)


def translate_text(source: str, target: str) -> Task:
    """MT: text to text."""
    return _task("translate {src:SRC.text} to {tgt:TGT.text!}", source, target)


def speak_text(language: str) -> Task:
    """TTS, as far as units: text to units of the same language."""
    return _task("speak {text:SRC.text} as {speech:SRC.units!}", language)


def translate_speech_to_text(source: str, target: str) -> Task:
    """ST: source units to target text."""
    return _task("translate {src:SRC.units} to {tgt:TGT.text!}", source, target)


def translate_speech_by_text(source: str, target: str) -> Task:
    """The chain: source units, source text, target text, target units; the last three are generated in turn."""
    line = "translate {src:SRC.units} by way of {heard:SRC.text!} and {said:TGT.text!} to {tgt:TGT.units!}"
    return _task(line, source, target)


def predict_durations(source: str, target: str) -> Task:
    """Run lengths of the target units, from both unit sequences and the run lengths of the source, in frames."""
    line = "time {tgt:TGT.units} after {src:SRC.units} with {src_lengths:durations} as {tgt_lengths:durations!}"
    return _task(line, source, target)


def synthesize_first_level(source: str, target: str) -> Task:
    """Codec level 0 of the target, in the voice of the source.

    Both unit sequences are expanded here, one unit a frame, so that the length of what is generated is known.
    """
    return _task(
        "voice {src:SRC.units} {tgt:TGT.units} like {src_codes:codec.0} as {tgt_codes:codec.0!}", source, target
    )


def pair_tasks(source: str, target: str) -> tuple[Task, ...]:
    """All tasks for translating `source` into `target`, with recognition and speech of both languages."""
    return (
        translate_speech(source, target),
        recognize_speech(source),
        recognize_speech(target),
        translate_text(source, target),
        speak_text(source),
        speak_text(target),
        translate_speech_to_text(source, target),
        translate_speech_by_text(source, target),
        predict_durations(source, target),
        synthesize_first_level(source, target),
    )


@dataclass(frozen=True)
class AlphabetSizes:
    """How many symbols the alphabets of a language pair have.

    Attributes:
        source_units: clusters of the source language's k-means.
        target_units: clusters of the target language's k-means.
        longest_run: longest run length that can be written, in frames; 500 are 10 s at 50 Hz.
        codec_levels: levels of the codec.
        codebook_size: codes per level.
    """

    source_units: int = 1_000
    target_units: int = 1_000
    longest_run: int = 500
    codec_levels: int = 8
    codebook_size: int = 1_024


def build_vocabulary(source: str, target: str, sizes: AlphabetSizes) -> Vocabulary:
    """The vocabulary in which all of `pair_tasks` can be written; text is written as UTF-8 bytes.

    Raises:
        InputError: a language is not a code such as `zh`, or both are the same.
    """
    tasks = pair_tasks(source, target)
    if source == target:
        raise InputError(f"source and target language are both {source!r}")
    alphabets = [
        Units(f"{source}.units", sizes.source_units),
        Units(f"{target}.units", sizes.target_units),
        Bytes(f"{source}.text"),
        Bytes(f"{target}.text"),
        Units("durations", sizes.longest_run + 1),
        *(Units(f"codec.{level}", sizes.codebook_size) for level in range(sizes.codec_levels)),
    ]
    return Vocabulary.build(alphabets, tasks)


def _task(line: str, source: str, target: str = "") -> Task:
    for placeholder, language in (("SRC", source), ("TGT", target)):
        if placeholder in line:
            if not _LANGUAGE.fullmatch(language):
                raise InputError(f"language {language!r} is not a code of two or three small letters such as 'zh'")
            line = line.replace(placeholder, language)
    return Task.parse(line)
