"""Training data of the codec: random crops of the files of a list, the same for the same seed and step."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from speechunits.audio import Samples, Waveform, read_audio, resample
from speechunits.codecs.speech_codec.pitch import RATE_HZ, Track, follow_pitch
from speechunits.codecs.speech_codec.settings import CodecTraining, Stage
from speechunits.codecs.speech_codec.source import Pitch
from speechunits.errors import InputError
from speechunits.extracted import UnitsInfo, read_extracted
from speechunits.listing import read_columns, read_list
from speechunits.runs import Units

_LONGEST_HELD_OUT_S = 10
# Encoders leave out a frame or two at the end; more are missing, or too many, when the units are of something else.
_UNITS_AMISS = 4.0


@dataclass(frozen=True)
class Clip:
    """One audio file of a list.

    Attributes:
        path: the file.
        source: its value in the column by which crops are balanced; empty without such a column.
        samples: its length at its own rate.
        rate_hz: that rate.
        speaker: its value in the column that says who speaks; its path without such a column.
        units: one a code frame, `[T]`, where a decoder learns to be told them.
    """

    path: Path
    source: str
    samples: int
    rate_hz: int
    speaker: str = ""
    units: Units | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate_hz

    @property
    def voice(self) -> tuple[str, str]:
        """Who speaks; two sources may call two speakers the same."""
        return self.source, self.speaker


@dataclass(frozen=True)
class CodecData:
    """What a list holds.

    Attributes:
        train: clips to train on.
        held_out: clips to evaluate on.
        digest: SHA-256 of the list.
        told: what the units of clips are; None where there are none.
        units_digest: SHA-256 of these units; empty where there are none.
        without_units: recordings that were left out because they have none.
    """

    train: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    digest: str
    told: UnitsInfo | None = None
    units_digest: str = ""
    without_units: int = 0


@dataclass(frozen=True, eq=False)
class Cues:
    """What a decoder may be told of crops.

    Attributes:
        units: one a code frame, `[B, T]` int64, -1 behind a clip's end.
        prompts: speech of the same voices, `[B, M]` float32, M whole code frames.
        prompt_frames: how many code frames of each prompt are sound, `[B]` int64.
    """

    units: Tensor
    prompts: Tensor
    prompt_frames: Tensor

    def to(self, device: torch.device) -> "Cues":
        """The same on a device."""
        return Cues(self.units.to(device), self.prompts.to(device), self.prompt_frames.to(device))


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops of one step.

    Attributes:
        samples: `[B, N]` float32, N whole code frames.
        cues: what a decoder may be told of them; None where there are no units.
        pitch: theirs at every spectrum, `[B, 2 T]`; None for a decoder without a source.
    """

    samples: Tensor
    cues: Cues | None = None
    pitch: Pitch | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(self.samples.to(device), self.cues and self.cues.to(device), self.pitch and self.pitch.to(device))


def read_codec_data(list_path: Path, settings: CodecTraining) -> CodecData:
    """Read a list of audio files and look at each file's length.

    Args:
        list_path: tab-separated text with a header. Column `audio`: paths relative to the list's folder. Column
            `split`, if any: `train` rows are trained on and `dev` rows held out. The column `settings.balance`, if
            any, says where a clip comes from; with units, the column `settings.voice` who speaks. Other columns do not
            matter.
        settings: how many clips to hold out when there are no `dev` rows, and whose units to read.

    Raises:
        InputError: the list is missing, has no column `audio` or too few rows, or a file is not audio; or the units
            are missing, of another rate, or of other recordings.
    """
    listed = read_list(list_path)
    splits, sources = (_read_optional(list_path, name, len(listed)) for name in ("split", settings.balance))
    speakers = _read_optional(list_path, settings.voice if settings.units else "", len(listed), may_be_empty=True)
    told, units = _read_units(settings)
    train: list[Clip] = []
    held_out: list[Clip] = []
    digest, without = hashlib.sha256(), 0
    for number, (row, split, source, speaker) in enumerate(
        zip(listed, splits, sources, speakers, strict=True), start=2
    ):
        if split not in ("", "train", "dev"):
            continue
        if told is not None and row.audio not in units:
            without += 1
            continue
        where = f"{list_path}: line {number}"
        clip = _look_at(row.path, source, where)
        if told is not None:
            clip = replace(clip, speaker=speaker or str(row.path), units=units[row.audio])
            _require_of_this_length(units[row.audio], clip, told, f"{where}: {row.audio}: {settings.units}")
            digest.update(units[row.audio].tobytes())
        (held_out if split == "dev" else train).append(clip)
    if without and not train:
        raise InputError(f"{settings.units}: has no units of the recordings that {list_path} trains on")
    if not held_out:
        # By a hash of the name, so that the choice does not move when rows are added or sorted anew.
        train.sort(key=lambda clip: hashlib.sha256(clip.path.name.encode()).digest())
        held_out, train = train[: settings.held_out_clips], train[settings.held_out_clips :]
    if not train:
        raise InputError(f"{list_path}: {len(held_out)} clips are held out, and none is left to train on")
    of_list = hashlib.sha256(list_path.read_bytes()).hexdigest()
    return CodecData(tuple(train), tuple(held_out), of_list, told, digest.hexdigest() if told else "", without)


def _read_units(settings: CodecTraining) -> tuple[UnitsInfo | None, dict[str, Units]]:
    """What the units are that decoders are told, and those of each recording."""
    if not settings.units:
        return None, {}
    info, rows = read_extracted(Path(settings.units))
    if info.units is None:
        raise InputError(f"{settings.units}: holds no units")
    if info.units.frame_rate_hz != settings.codec.frame_rate_hz:
        rates = f"{info.units.frame_rate_hz:g} units a second, the codec {settings.codec.frame_rate_hz:g} frames"
        raise InputError(f"{settings.units}: has {rates}; a decoder is told one unit a frame")
    return info.units, {row.audio: row.units for row in rows if row.units is not None and row.units.size}


def _require_of_this_length(units: Units, clip: Clip, told: UnitsInfo, where: str) -> None:
    found_s = units.size / told.frame_rate_hz
    if abs(found_s - clip.duration_s) * told.frame_rate_hz > _UNITS_AMISS:
        raise InputError(f"{where} has {found_s:.2f} s of units, the recording {clip.duration_s:.2f} s; extract again")


def _read_optional(list_path: Path, name: str, rows: int, *, may_be_empty: bool = False) -> list[str]:
    """A column of the list, or empty cells when it has none of that name."""
    header = list_path.read_text(encoding="utf-8-sig").partition("\n")[0].rstrip("\r").split("\t")
    if name not in header:
        return [""] * rows
    return [cell for [cell] in read_columns(list_path, (name,), may_be_empty=may_be_empty)]


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
        self._voices: dict[tuple[str, str], list[Clip]] = {}
        for clip in clips:
            sources.setdefault(clip.source, []).append(clip)
            self._voices.setdefault(clip.voice, []).append(clip)
        self._sources = [sources[name] for name in sorted(sources)]
        # A clip is drawn as often as its length asks for, so that every second of a source counts the same.
        self._shares = [_shares(source) for source in self._sources]
        self._tracks: dict[Path, Track] = {}

    def batch(self, step: int, crop_s: float) -> Batch:
        """Return the crops of a step. Short clips are filled with silence.

        Raises:
            InputError: a file has vanished or changed since the list was read.
        """
        settings, codec = self._settings, self._settings.codec
        chance = np.random.default_rng([settings.seed, step])
        frames = max(1, round(crop_s * codec.frame_rate_hz))
        rows = np.zeros((settings.batch_clips, frames * codec.frame_samples), dtype=np.float32)
        clips, starts = [], []
        for row in rows:
            source = int(chance.integers(len(self._sources)))
            clip = self._sources[source][int(chance.choice(self._shares[source].size, p=self._shares[source]))]
            position, gain_db = chance.random(), chance.uniform(-settings.gain_db, settings.gain_db)
            start = self._start(clip, row.size, position)
            self._fill(row, clip, start, gain_db)
            clips.append(clip)
            starts.append(start)
        samples = torch.from_numpy(rows)
        pitch = self._pitch(clips, starts, 2 * frames) if codec.decoder_source else None
        if not settings.units:
            return Batch(samples, None, pitch)
        units = np.full((len(clips), frames), -1, dtype=np.int64)
        for told, clip, start in zip(units, clips, starts, strict=True):
            if clip.units is not None:
                first = round(start / clip.rate_hz * codec.frame_rate_hz)
                found = clip.units[first : first + frames]
                told[: found.size] = found
        return Batch(samples, Cues(torch.from_numpy(units), *self._prompts(clips, chance)), pitch)

    def _pitch(self, clips: Sequence[Clip], starts: Sequence[int], count: int) -> Pitch:
        """The pitch of crops, `[B, S]`. That of a clip is followed once: as a whole, when the clip is first drawn."""
        rate_hz = 2.0 * self._settings.codec.frame_rate_hz
        rows = []
        for clip, start in zip(clips, starts, strict=True):
            track = self._tracks.get(clip.path)
            if track is None:
                spectra = max(1, round(clip.duration_s * rate_hz))
                waveform = read_audio(clip.path, RATE_HZ)  # resampled block by block
                track = self._tracks[clip.path] = follow_pitch(waveform, rate_hz, spectra)
            found = track[:, min(round(start / clip.rate_hz * rate_hz), track.shape[1] - 1) :][:, :count]
            row = np.pad(found, ((0, 0), (0, count - found.shape[1])), mode="edge")
            row[1, found.shape[1] :] = 0.0  # behind a clip's end
            rows.append(row)
        both = torch.from_numpy(np.stack(rows))
        return Pitch(both[:, 0], both[:, 1])

    def _prompts(self, clips: Sequence[Clip], chance: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Speech in the voices of clips, `[B, M]`, and how many of its code frames are sound, `[B]`."""
        settings, codec = self._settings, self._settings.codec
        frames = max(1, round(settings.prompt_crop_s * codec.frame_rate_hz))
        rows = np.zeros((len(clips), frames * codec.frame_samples), dtype=np.float32)
        counts = []
        for row, clip in zip(rows, clips, strict=True):
            voice = self._voices[clip.voice]
            others = [other for other in voice if other is not clip] or voice
            prompt = others[int(chance.integers(len(others)))]
            position, gain_db = chance.random(), chance.uniform(-settings.gain_db, settings.gain_db)
            sound = self._fill(row, prompt, self._start(prompt, row.size, position), gain_db)
            counts.append(-(-sound // codec.frame_samples))
        return torch.from_numpy(rows), torch.tensor(counts)

    def _start(self, clip: Clip, samples: int, position: float) -> int:
        """Where a crop begins in its clip, at the clip's rate: at the share `position` of what can be a beginning."""
        codec = self._settings.codec
        if clip.units is None and not codec.decoder_source:
            count = round(samples / codec.sample_rate_hz * clip.rate_hz)
            return int(position * max(1, clip.samples - count + 1))
        # Units and pitches lie in frames.
        frames = int(clip.duration_s * codec.frame_rate_hz) if clip.units is None else clip.units.size
        frame = int(position * max(1, frames - samples // codec.frame_samples + 1))
        return round(frame / codec.frame_rate_hz * clip.rate_hz)

    def _fill(self, row: Samples, clip: Clip, start: int, gain_db: float) -> int:
        """Put a crop of a clip into a row; return how many samples of it are sound."""
        rate_hz = self._settings.codec.sample_rate_hz
        samples = _read_crop(clip, start, round(row.size / rate_hz * clip.rate_hz), rate_hz)[: row.size]
        row[: samples.size] = samples * np.float32(10.0 ** (gain_db / 20.0))
        return samples.size

    def batches(self, steps: Mapping[int, Stage], first_step: int) -> Iterator[tuple[int, Stage, Batch]]:
        """Yield steps from `first_step` on with their batches; the next ones are read while one is used."""
        readers = self._settings.readers
        with ThreadPoolExecutor(readers) as pool:
            coming: deque[tuple[int, Future[Batch]]] = deque()
            for step in (step for step in steps if step >= first_step):
                coming.append((step, pool.submit(self.batch, step, steps[step].crop_s)))
                if len(coming) > readers:
                    yield self._take(coming, steps)
            while coming:
                yield self._take(coming, steps)

    @staticmethod
    def _take(coming: "deque[tuple[int, Future[Batch]]]", steps: Mapping[int, Stage]) -> tuple[int, Stage, Batch]:
        step, batch = coming.popleft()
        return step, steps[step], batch.result()


def _shares(clips: Sequence[Clip]) -> npt.NDArray[np.float64]:
    durations = np.array([clip.duration_s for clip in clips])
    shares: npt.NDArray[np.float64] = durations / durations.sum()
    return shares


def _read_crop(clip: Clip, start: int, count: int, rate_hz: int) -> Samples:
    """Read `count` samples at the clip's own rate; only these are decoded."""
    try:
        with soundfile.SoundFile(clip.path) as stream:
            stream.seek(min(start, clip.samples))
            channels = stream.read(count, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{clip.path}: can no longer be read") from error
    return resample(Waveform(channels.mean(axis=1, dtype=np.float32), clip.rate_hz), rate_hz).samples


def read_held_out(clips: Sequence[Clip], rate_hz: int) -> list[Waveform]:
    """Read the first ten seconds of each clip."""
    waveforms = [read_audio(clip.path, rate_hz) for clip in clips]
    return [Waveform(waveform.samples[: _LONGEST_HELD_OUT_S * rate_hz], rate_hz) for waveform in waveforms]
