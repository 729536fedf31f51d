"""Utterances with labels, and which of them make up the batch of a step.

A batch is a pure function of seed and step: there is no position to save, and a run that goes on reads what it would
have read. Utterances of similar length go together and are cropped to the shortest of them, so nothing is padded
(group norm over time, which HuBERT has, would count the padding as sound).

Letters in shapes: B crop, T frame, N sample, L set of labels.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from polyvoice.corpus.workers import open_pool
from polyvoice.errors import InputError
from polyvoice.stages.encoder.augmentation import augment
from speechunits.audio import Samples, Waveform, resample
from speechunits.encoders.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES, count_samples
from speechunits.extracted import read_extracted

if TYPE_CHECKING:
    from polyvoice.stages.encoder.settings import Augmentation
    from speechunits.runs import Units

_FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP_SAMPLES
_CENTRE = WINDOW_SAMPLES / 2 / HOP_SAMPLES  # of frame 0, in hops from its start
_BUCKET_RATIO = 1.15  # the longest of a batch by its shortest: at most this is cropped away
_CROP_STEP = 8  # frames: a GPU plans its convolutions anew for every length, so there are not too many of them
_SHORTEST_CROP = 10  # frames; below 0.2 s there is no context to learn from


@dataclass(frozen=True, eq=False, slots=True)
class LabelledUtterance:
    """An utterance and what its frames are called.

    Attributes:
        audio: the file.
        labels: `[L, T]` int16, T the frames of HuBERT.
    """

    audio: Path
    labels: npt.NDArray[np.int16]

    @property
    def frames(self) -> int:
        """T."""
        return int(self.labels.shape[1])


@dataclass(frozen=True, eq=False)
class LabelSet:
    """All utterances of a run.

    Attributes:
        clusters: how many labels there are, for each of the L sets.
        train: what is trained on.
        held_out: what is evaluated on.
        digest: equal when labels and paths are.
    """

    clusters: tuple[int, ...]
    train: tuple[LabelledUtterance, ...]
    held_out: tuple[LabelledUtterance, ...]
    digest: str


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops of one length.

    Attributes:
        sound: `[B, N]` at 16 kHz, N = 400 + 320 (T - 1).
        labels: `[L, B, T]` int64.
    """

    sound: Samples
    labels: Units


def read_labels(folders: Sequence[Path], audio_folder: Path, held_out_share: float) -> LabelSet:
    """Read folders of extracted units as labels.

    Args:
        folders: what `speechunits extract` wrote; all list the same files in the same order.
        audio_folder: where the paths in them start from.
        held_out_share: of the utterances, chosen by a digest of the path as written, whatever else is in the list.

    Returns:
        All utterances of at least 0.2 s.

    Raises:
        InputError: a folder has no units, or not at 50 Hz, or the folders list different files, or nothing is left to
            train on or to evaluate.
        speechunits.errors.InputError: a folder is not finished or not what `extract` writes.
    """
    clusters, opened = [], []
    for folder in folders:
        info, rows = read_extracted(folder)
        if info.units is None or info.units.frame_rate_hz != _FRAME_RATE_HZ:
            raise InputError(f"{folder}: labels are units at {_FRAME_RATE_HZ:g} Hz, which are not in it")
        clusters.append(info.units.clusters)
        opened.append(rows)
    digest = hashlib.sha256(repr(clusters).encode())
    train: list[LabelledUtterance] = []
    held_out: list[LabelledUtterance] = []
    for together in zip_longest(*opened):
        found = [row for row in together if row is not None]
        written = found[0].audio
        if len(found) < len(together) or any(row.audio != written for row in found):
            raise InputError(f"{folders[0]}: the folders of labels do not list the same files (look for {written})")
        units = [row.units for row in found if row.units is not None]
        # A frame more or less is a matter of how an encoder treats the end.
        frames = min(len(values) for values in units)
        labels = np.stack([values[:frames] for values in units]).astype(np.int16)  # [L, T]
        digest.update(written.encode() + labels.tobytes())
        if frames >= _SHORTEST_CROP:
            chosen = held_out if _fraction(written) < held_out_share else train
            chosen.append(LabelledUtterance(audio_folder / written, labels))
    if not train or (held_out_share > 0.0 and not held_out):
        raise InputError(f"{folders[0]}: {len(train)} utterances to train on and {len(held_out)} to evaluate")
    return LabelSet(tuple(clusters), tuple(train), tuple(held_out), digest.hexdigest()[:16])


class BatchPlan:
    """Which utterances make up which batch: every utterance once an epoch, in another order and company each time."""

    def __init__(self, lengths: Sequence[int], batch_frames: int, seed: int) -> None:
        """Sort utterances into buckets of similar length.

        Args:
            lengths: frames of each utterance that a crop may have.
            batch_frames: most frames of a batch, but for a single utterance that has more.
            seed: of the order.
        """
        self._seed = seed
        buckets: dict[int, list[int]] = {}
        for position, length in enumerate(lengths):
            buckets.setdefault(int(math.log(length) / math.log(_BUCKET_RATIO)), []).append(position)
        self._buckets = [
            (np.array(members), max(1, batch_frames // max(lengths[member] for member in members)))
            for _, members in sorted(buckets.items())
        ]
        self._epoch, self._order = -1, list[npt.NDArray[np.int64]]()

    @property
    def batches_per_epoch(self) -> int:
        """Steps until every utterance was in one."""
        return sum(math.ceil(len(members) / rows) for members, rows in self._buckets)

    def batch(self, step: int) -> list[int]:
        """Return the positions of the utterances of a step, counted from 1."""
        epoch, index = divmod(step - 1, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(epoch)
        positions: list[int] = self._order[index].tolist()
        return positions

    def _draw(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        generator = np.random.default_rng([self._seed, epoch])
        batches: list[npt.NDArray[np.int64]] = []
        for members, rows in self._buckets:
            shuffled = generator.permutation(members)
            batches.extend(shuffled[start : start + rows] for start in range(0, len(shuffled), rows))
        return [batches[index] for index in generator.permutation(len(batches))]


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of a step, a function of the seed and the step alone.

    Attributes:
        utterances: what is drawn from.
        plan: which of them make up which batch.
        augmentation: what is done to their sound.
        longest_frames: longer ones are cropped.
        seed: of all draws.
    """

    utterances: Sequence[LabelledUtterance]
    plan: BatchPlan
    augmentation: Augmentation
    longest_frames: int
    seed: int

    def __call__(self, step: int) -> CropBatch:
        """Make it.

        Raises:
            InputError: a file is missing, cannot be read, or is shorter than its labels say.
        """
        generator = np.random.default_rng([self.seed, step, 1])
        chosen = [self.utterances[position] for position in self.plan.batch(step)]
        return build_batch(chosen, self.augmentation, self.longest_frames, generator, _CROP_STEP)


def training_batches(make: BatchMaker, steps: range, readers: int = 0) -> Iterator[CropBatch]:
    """Yield the batches of `steps`, in order.

    Args:
        make: makes each.
        steps: which.
        readers: processes that make them ahead; 0 for this process, when each is asked for.

    Raises:
        InputError: see `BatchMaker`.
    """
    if not readers:
        yield from map(make, steps)
        return
    with open_pool(readers, _become_reader, (make,)) as pool:
        coming: deque[Future[CropBatch]] = deque()
        for step in steps:
            coming.append(pool.submit(_make, step))
            if len(coming) > 2 * readers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


_reader: list[BatchMaker] = []


def _become_reader(make: BatchMaker) -> None:
    _reader[:] = [make]


def _make(step: int) -> CropBatch:
    return _reader[0](step)


def build_batch(
    utterances: Sequence[LabelledUtterance],
    augmentation: Augmentation,
    longest_frames: int,
    generator: np.random.Generator,
    crop_step: int = 1,
) -> CropBatch:
    """Crop utterances at random to one length, change their sound, and say what their frames are called.

    Args:
        utterances: one for each crop.
        augmentation: what is done to the sound.
        longest_frames: of a crop.
        generator: source of chance.
        crop_step: crops that are longer than this have a multiple of it, in frames.

    Raises:
        InputError: see `read_crop`.
    """
    low, high = augmentation.resample_range
    speeds = [
        round(generator.uniform(low, high), 2) if generator.random() < augmentation.resample_probability else 1.0
        for _ in utterances
    ]
    fitting = [frames_at_speed(utterance.frames, speed) for utterance, speed in zip(utterances, speeds, strict=True)]
    frames = min(longest_frames, *fitting)
    frames -= frames % crop_step if frames > crop_step else 0
    sound = np.empty((len(utterances), count_samples(frames)), dtype=np.float32)
    labels = np.empty((len(utterances[0].labels), len(utterances), frames), dtype=np.int64)
    for row, (utterance, speed) in enumerate(zip(utterances, speeds, strict=True)):
        heard = label_positions(frames, speed)
        first = int(generator.integers(0, utterance.frames - heard[-1]))
        sound[row] = read_crop(utterance.audio, first * HOP_SAMPLES, count_samples(frames), speed)
        labels[:, row] = utterance.labels[:, first + heard]
    return CropBatch(augment(sound, augmentation, generator), labels)


def label_positions(frames: int, speed: float) -> Units:
    """Return which frame of the recording is heard in each frame `[frames]` of a crop that is played at `speed`.

    Frame t of the crop is centred 200 + 320 t samples into it, so `speed` times as far into the recording.
    """
    centres = (np.arange(frames) + _CENTRE) * speed
    positions: Units = np.maximum(np.rint(centres - _CENTRE), 0).astype(np.int64)
    return positions


def frames_at_speed(frames: int, speed: float) -> int:
    """Return the frames of a crop, played at `speed`, for which `frames` of the recording suffice."""
    fewer = max(1, int((count_samples(frames) / speed - WINDOW_SAMPLES) / HOP_SAMPLES) + 1)
    while fewer > 1 and label_positions(fewer, speed)[-1] >= frames:
        fewer -= 1
    return fewer


def read_crop(path: Path, start: int, samples: int, speed: float = 1.0) -> Samples:
    """Read a part of a recording as `[samples]` at 16 kHz; only that part is decoded.

    Args:
        path: any audio file that libsndfile reads; several channels are averaged.
        start: first sample, counted at 16 kHz at the recording's own speed.
        samples: of the crop, at 16 kHz.
        speed: how fast it is played.

    Returns:
        The crop; where the recording ends up to 20 ms early (rounding at another rate), silence.

    Raises:
        InputError: the file is missing, is not audio, or ends earlier than that.
    """
    try:
        with soundfile.SoundFile(path) as stream:
            rate_hz = stream.samplerate
            first = round(start * rate_hz / SAMPLE_RATE_HZ)
            stream.seek(min(first, stream.frames))
            wanted = math.ceil(samples * speed * rate_hz / SAMPLE_RATE_HZ)
            channels = stream.read(wanted, dtype="float32", always_2d=True)  # [samples, channels]
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read as audio: {error.error_string}") from error
    if channels.shape[0] < wanted - rate_hz // 50:
        raise InputError(f"{path}: ends before its labels do; extract them again")
    # Playing at another speed is resampling from a rate that the file does not have.
    played = Waveform(channels.mean(axis=1, dtype=np.float32), round(rate_hz * speed))
    sound = resample(played, SAMPLE_RATE_HZ).samples[:samples]
    return np.pad(sound, (0, samples - sound.size))


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
