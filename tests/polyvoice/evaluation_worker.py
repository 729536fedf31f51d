"""A system and a recogniser that can be told apart by ear, and a run of both as a process that can be killed.

Speech is a row of tones of half a second, each of which stands for a word.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyvoice.pipeline.protocol import Translated
from speechunits.audio import Waveform
from speechunits.runs import Runs, deduplicate

RATE_HZ = 16_000
WORD_S = 0.5
WORDS = {"one": 200, "two": 300, "three": 400, "uno": 500, "dos": 600, "tres": 700}


def speak(text: str) -> Waveform:
    """Half a second of tone a word."""
    time_s = np.arange(round(WORD_S * RATE_HZ)) / RATE_HZ
    tones = [0.3 * np.sin(2 * np.pi * WORDS[word] * time_s) for word in text.split()]
    return Waveform(np.concatenate(tones).astype(np.float32), RATE_HZ)


class ToneRecognizer:
    """Writes the words of `speak`."""

    name = "tones"
    language = "en"
    versions: dict[str, str] = {}  # noqa: RUF012

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        return [" ".join(hear(waveform)) for waveform in waveforms]


class ToneUnits:
    """Ten frames a word, whose unit is the tone's number."""

    identity = "tone units"
    frame_rate_hz = 20.0

    def encode(self, waveforms: Sequence[Waveform]) -> list[Runs]:
        places = list(WORDS)
        return [
            deduplicate([places.index(word) for word in hear(waveform) for _ in range(10)]) for waveform in waveforms
        ]


def hear(waveform: Waveform) -> list[str]:
    size = round(WORD_S * RATE_HZ)
    pieces = waveform.samples[: waveform.samples.size // size * size].reshape(-1, size)
    pitches = np.abs(np.fft.rfft(pieces, axis=1)).argmax(axis=1) / WORD_S
    return [min(WORDS, key=lambda word: abs(WORDS[word] - pitch)) for pitch in pitches]


class Interpreter:
    """Says each Spanish number in English, but forgets the third word; counts how often it is asked."""

    identity = "interpreter 1"

    def __init__(self, die_at: int = -1) -> None:
        self.asked = 0
        self._die_at = die_at

    def warm_up(self) -> None:
        """Nothing is loaded."""

    def translate(self, waveform: Waveform, source_lang: str, target_lang: str, *, seed: int) -> Translated:
        if self.asked == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked += 1
        words = [{"uno": "one", "dos": "two", "tres": "three"}[word] for word in hear(waveform)]
        said = " ".join(words[:2] + words[3:])
        # The seed is heard in the loudness, so a row that gets another seed is another row.
        spoken = Waveform(speak(said).samples * np.float32(0.5 + seed % 1000 / 2000), RATE_HZ)
        return Translated(spoken, ToneUnits().encode([spoken])[0], said, {"translate": 0.25, "synthesize": 0.5}, 0.3)


if __name__ == "__main__":
    from polyvoice.evaluation.evaluate import evaluate
    from polyvoice.evaluation.judges import Judges

    manifest, out, die_at = sys.argv[1:]
    judges = Judges(recognizers=(ToneRecognizer(),), units=ToneUnits())
    evaluate(Path(manifest), Path(out), Interpreter(int(die_at)), judges)
