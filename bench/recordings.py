"""Speech to measure with: recordings that ship with polyvoice, cut and joined to any length; and the bundle."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.suite import CannotMeasure, Options
from polyvoice.bundle.manifest import read_manifest
from polyvoice.bundle.shipped import shipped_bundle, shipped_recordings
from polyvoice.errors import InputError
from speechunits.audio import Waveform, read_audio, write_wav
from speechunits.listing import Listed

RATE_HZ = 16_000
# Utterances of read and parliamentary speech lie between these.
SHORTEST_S, LONGEST_S = 1.0, 30.0


@dataclass(frozen=True)
class Asked:
    """A recording, what is spoken in it, and what it can be translated into."""

    path: Path
    source: str
    target: str
    duration_s: float


def find_bundle(options: Options) -> Path:
    """The bundle that was given, else the shipped one.

    Raises:
        CannotMeasure: there is none.
    """
    if options.bundle is not None:
        return options.bundle
    try:
        return shipped_bundle()
    except InputError as error:
        raise CannotMeasure(str(error)) from error


def list_shipped() -> list[dict[str, str]]:
    """Rows of the shipped pair manifest."""
    with shipped_recordings().open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def pick_recording(bundle: Path) -> Asked:
    """The first shipped recording that the bundle translates.

    Raises:
        CannotMeasure: there is none.
    """
    ways = {(way.source, way.target) for way in read_manifest(bundle).directions}
    folder = shipped_recordings().parent
    for row in list_shipped():
        if (row["source_lang"], row["target_lang"]) in ways:
            path = folder / row["source_audio"]
            return Asked(path, row["source_lang"], row["target_lang"], read_audio(path).duration_s)
    raise CannotMeasure("no shipped recording is in a language that the bundle translates from")


@lru_cache(maxsize=1)
def read_speech() -> NDArray[np.float32]:
    """All shipped recordings, one after the other, at 16 kHz."""
    folder = shipped_recordings().parent
    names = sorted({row[column] for row in list_shipped() for column in ("source_audio", "target_audio")})
    return np.concatenate([read_audio(folder / name, RATE_HZ).samples for name in names])


def write_corpus(folder: Path, seconds: float, seed: int = 0) -> list[Listed]:
    """Write WAV files of 1 to 30 s, lengths evenly spread on a logarithmic scale, until there are so many seconds.

    Each is a stretch of the shipped recordings from a random moment on, over and over, with faint noise so that no two
    files are alike.
    """
    random = np.random.default_rng(seed)
    speech = read_speech()
    rows: list[Listed] = []
    left = round(seconds * RATE_HZ)
    while left >= SHORTEST_S * RATE_HZ:
        length = min(left, round(RATE_HZ * np.exp(random.uniform(np.log(SHORTEST_S), np.log(LONGEST_S)))))
        samples = np.take(speech, random.integers(speech.size) + np.arange(length), mode="wrap")
        samples = samples + random.normal(0.0, 1e-3, length)
        name = f"{len(rows):05}.wav"
        write_wav(folder / name, Waveform(samples.astype(np.float32), RATE_HZ))
        rows.append(Listed(name, folder / name))
        left -= length
    return rows
