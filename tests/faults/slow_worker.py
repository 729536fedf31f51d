"""Two commands as processes that can be killed, with models of tones in place of trained ones.

slow_worker.py speak TEXTS.tsv OUT
slow_worker.py evaluate PAIRS.tsv OUT
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyvoice.corpus.speak.run import SpeakSettings, speak_corpus
from polyvoice.corpus.speak.texts import read_texts
from polyvoice.corpus.splits import Shares
from polyvoice.evaluation.evaluate import evaluate
from polyvoice.evaluation.judges import Judges
from polyvoice.pipeline.protocol import Translated
from speechunits.audio import Waveform
from speechunits.runs import Runs, deduplicate


class Speaker:
    """Says each character as a tone."""

    def speak(self, text: str, language: str, voice: str, speed: float) -> Waveform:
        time.sleep(0.02)
        at = np.arange(round(400 * len(text) / speed), dtype=np.float32) / 8_000
        return Waveform(np.sin(400 * (2 + len(voice)) * at).astype(np.float32) / 2, 8_000)


class Echo:
    """Says what it hears, turned round."""

    identity = "echo"

    def warm_up(self) -> None:
        """Nothing is loaded."""

    def translate(self, waveform: Waveform, source_lang: str, target_lang: str, *, seed: int) -> Translated:
        time.sleep(0.1)
        return Translated(Waveform(waveform.samples[::-1].copy(), waveform.rate_hz), None, "", {"translate": 0.1}, 0.1)


class Loudness:
    """Eight units: how loud each tenth of a second is."""

    identity = "loudness"
    frame_rate_hz = 10.0

    def encode(self, waveforms: Sequence[Waveform]) -> list[Runs]:
        size = 1_600
        frames = [waveform.samples[: waveform.samples.size // size * size].reshape(-1, size) for waveform in waveforms]
        return [deduplicate((80 * np.abs(each).mean(axis=1)).astype(np.int64) % 8) for each in frames]


def main(action: str, source: Path, out: Path) -> None:
    if action == "speak":
        texts = read_texts(source, ("zh-en",), Shares())
        speak_corpus(texts, out, Speaker, {"low": "train", "high": "train"}, SpeakSettings("tones", rate_hz=8_000))
    else:
        evaluate(source, out, Echo(), Judges(units=Loudness()), split="train")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
