"""Training data of the codec: random crops of the files of a list, the same for the same seed and step."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from speechunits.audio import Samples, Waveform, read_audio, resample
from speechunits.codecs.speech_codec.settings import CodecTraining, Stage
from speechunits.errors import InputError
from speechunits.listing import read_columns, read_list

_LONGEST_HELD_OUT_S = 10


@dataclass(frozen=True)
class Clip:
    """One audio file of a list.

    Attributes:
        path: the file.
        source: its value in the column by which crops are balanced; empty without such a column.
        samples: its length at its own rate.
        rate_hz: that rate.
    """

    path: Path
    source: str
    samples: int
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate_hz


@dataclass(frozen=True)
class CodecData:
    """What a list holds.

    Attributes:
        train: clips to train on.
        held_out: clips to evaluate on.
        digest: SHA-256 of the list.
    """

    train: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    digest: str


def read_codec_data(list_path: Path, settings: CodecTraining) -> CodecData:
    """Read a list of audio files and look at each file's length.

    Args:
        list_path: tab-separated text with a header. Column `audio`: paths relative to the list's folder. Column
            `split`, if any: `train` rows are trained on and `dev` rows held out. The column `settings.balance`, if
            any, says where a clip comes from. Other columns do not matter.
        settings: how many clips to hold out when there are no `dev` rows.

    Raises:
        InputError: the list is missing, has no column `audio` or too few rows, or a file is not audio.
    """
    listed = read_list(list_path)
    splits, sources = (_read_optional(list_path, name, len(listed)) for name in ("split", settings.balance))
    train: list[Clip] = []
    held_out: list[Clip] = []
    for number, (row, split, source) in enumerate(zip(listed, splits, sources, strict=True), start=2):
        if split in ("", "train", "dev"):
            clip = _look_at(row.path, source, f"{list_path}: line {number}")
            (held_out if split == "dev" else train).append(clip)
    if not held_out:
        # By a hash of the name, so that the choice does not move when rows are added or sorted anew.
        train.sort(key=lambda clip: hashlib.sha256(clip.path.name.encode()).digest())
        held_out, train = train[: settings.held_out_clips], train[settings.held_out_clips :]
    if not train:
        raise InputError(f"{list_path}: {len(held_out)} clips are held out, and none is left to train on")
    return CodecData(tuple(train), tuple(held_out), hashlib.sha256(list_path.read_bytes()).hexdigest())


def _read_optional(list_path: Path, name: str, rows: int) -> list[str]:
    """A column of the list, or empty cells when it has none of that name."""
    header = list_path.read_text(encoding="utf-8-sig").partition("\n")[0].rstrip("\r").split("\t")
    return [cell for [cell] in read_columns(list_path, (name,))] if name in header else [""] * rows


def _look_at(path: Path, source: str, where: str) -> Clip:
    try:
        found = soundfile.info(path)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{where}: {path} is missing or not audio") from error
    if found.frames < 1:
        raise InputError(f"{where}: {path} has no samples")
    return Clip(path, source, int(found.frames), int(found.samplerate))


class Crops:
    """Draws batches of crops; a batch depends on the clips, the settings and its step alone."""

    def __init__(self, clips: Sequence[Clip], settings: CodecTraining) -> None:
        self._settings = settings
        sources: dict[str, list[Clip]] = {}
        for clip in clips:
            sources.setdefault(clip.source, []).append(clip)
        self._sources = [sources[name] for name in sorted(sources)]
        # A clip is drawn as often as its length asks for, so that every second of a source counts the same.
        self._shares = [_shares(source) for source in self._sources]

    def batch(self, step: int, crop_s: float) -> Tensor:
        """Return the crops `[B, N]` of a step, float32; N has whole code frames. Short clips are filled with silence.

        Raises:
            InputError: a file has vanished or changed since the list was read.
        """
        settings, rate_hz = self._settings, self._settings.codec.sample_rate_hz
        chance = np.random.default_rng([settings.seed, step])
        frames = max(1, round(crop_s * settings.codec.frame_rate_hz))
        rows = np.zeros((settings.batch_clips, frames * settings.codec.frame_samples), dtype=np.float32)
        for row in rows:
            source = int(chance.integers(len(self._sources)))
            clip = self._sources[source][int(chance.choice(self._shares[source].size, p=self._shares[source]))]
            position, gain_db = chance.random(), chance.uniform(-settings.gain_db, settings.gain_db)
            samples = _read_crop(clip, row.size / rate_hz, position, rate_hz)
            row[: samples.size] = samples[: row.size] * np.float32(10.0 ** (gain_db / 20.0))
        return torch.from_numpy(rows)

    def batches(self, steps: Mapping[int, Stage], first_step: int) -> Iterator[tuple[int, Stage, Tensor]]:
        """Yield steps from `first_step` on with their batches; the next ones are read while one is used."""
        readers = self._settings.readers
        with ThreadPoolExecutor(readers) as pool:
            coming: deque[tuple[int, Future[Tensor]]] = deque()
            for step in (step for step in steps if step >= first_step):
                coming.append((step, pool.submit(self.batch, step, steps[step].crop_s)))
                if len(coming) > readers:
                    yield self._take(coming, steps)
            while coming:
                yield self._take(coming, steps)

    @staticmethod
    def _take(coming: "deque[tuple[int, Future[Tensor]]]", steps: Mapping[int, Stage]) -> tuple[int, Stage, Tensor]:
        step, batch = coming.popleft()
        return step, steps[step], batch.result()


def _shares(clips: Sequence[Clip]) -> npt.NDArray[np.float64]:
    durations = np.array([clip.duration_s for clip in clips])
    shares: npt.NDArray[np.float64] = durations / durations.sum()
    return shares


def _read_crop(clip: Clip, crop_s: float, position: float, rate_hz: int) -> Samples:
    """Read `crop_s` seconds that begin at the share `position` of what can be a beginning; only these are decoded."""
    count = round(crop_s * clip.rate_hz)
    start = int(position * max(1, clip.samples - count + 1))
    try:
        with soundfile.SoundFile(clip.path) as stream:
            stream.seek(min(start, max(0, clip.samples - count)))
            channels = stream.read(count, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{clip.path}: can no longer be read") from error
    return resample(Waveform(channels.mean(axis=1, dtype=np.float32), clip.rate_hz), rate_hz).samples


def read_held_out(clips: Sequence[Clip], rate_hz: int) -> list[Waveform]:
    """Read the first ten seconds of each clip."""
    waveforms = [read_audio(clip.path, rate_hz) for clip in clips]
    return [Waveform(waveform.samples[: _LONGEST_HELD_OUT_S * rate_hz], rate_hz) for waveform in waveforms]
