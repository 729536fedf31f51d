"""`polyvoice corpus speak`: texts to parallel speech."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from polyvoice.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Speak:
    """Speak texts: the same voice says both sides of a pair; needs polyvoice[corpus] and espeak-ng.

    A run that was killed goes on. The voices come from npm: npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz,
    then --voice-files package/voices.
    """

    texts: Annotated[Path, Positional]
    """A phrasebook (columns key, perhaps split, and one for each language), or a pair manifest with texts."""
    out: Path
    """Folder to write to: pairs.tsv, failed.tsv and audio."""
    voice_files: Path
    """Folder of Kokoro's voices, NAME.bin."""
    voices: tuple[str, ...] = ()
    """Names of the voices that may speak; all by default. Ten of the 54 speak test texts, and nothing else."""
    pairs: tuple[str, ...] = ()
    """Such as zh-en; by default a manifest's own, or of a phrasebook English with each other language."""
    takes: int = 1
    """Different voices for each row; a later run may ask for more."""
    rate: Annotated[int, arg(metavar="HZ")] = 24_000
    """Sample rate of the FLAC files."""
    slowest: float = 0.9
    """Lowest speed; each row is spoken at a speed of its own."""
    fastest: float = 1.15
    """Highest speed."""
    dev: float = 0.01
    """Part of the texts that is held out for development, where the table has no column split."""
    test: float = 0.01
    """Part of the texts that is held out for testing, where the table has no column split."""
    seed: int = 0
    """For the choice of voices and speeds."""
    engine: Literal["onnx", "torch", "cuda"] = "onnx"
    """What computes: onnxruntime; or PyTorch for the last part, in about half the processor time (x86-64 only); or a
    GPU for the last part, in a fifth. It may change from run to run; what is spoken differs as two roundings do."""
    workers: int = os.cpu_count() or 1
    """Processes, each with one thread and 0.8 GB of memory; one a core by default."""

    def run(self) -> None:
        """Speak, and say how much."""
        from polyvoice.corpus.speak.kokoro import IDENTITY, Kokoro
        from polyvoice.corpus.speak.run import SpeakSettings, speak_corpus
        from polyvoice.corpus.speak.texts import read_texts
        from polyvoice.corpus.speak.voices import split_voices
        from polyvoice.corpus.splits import Shares

        settings = SpeakSettings(IDENTITY, self.rate, self.slowest, self.fastest, self.seed)
        table = read_texts(self.texts, self.pairs, Shares(self.dev, self.test))
        kokoro = Kokoro(self.voice_files, self.engine)
        kokoro.check(sorted({language for pair in table.pairs for language in pair}))
        splits = split_voices(kokoro.list_voices())
        for voice in self.voices:
            if voice not in splits:
                raise InputError(f"{self.voice_files}: no voice {voice!r}; there are {', '.join(splits)}")
        chosen = {voice: splits[voice] for voice in self.voices or splits}
        summary = speak_corpus(table, self.out, kokoro.load, chosen, settings, takes=self.takes, workers=self.workers)
        print(summary)
