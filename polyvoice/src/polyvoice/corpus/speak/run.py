"""Speaking a corpus: one process a core, rows in their order, nothing lost or doubled by a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.growing import GrowingTable
from polyvoice.corpus.manifest import COLUMNS, PairRow, format_row
from polyvoice.corpus.speak.progress import SpeakingProgress
from polyvoice.corpus.speak.voices import choose_voices
from polyvoice.corpus.splits import hash_fraction
from polyvoice.corpus.workers import claim_folder, open_pool
from polyvoice.errors import InputError
from speechunits.audio import resample
from speechunits.errors import InputError as AudioInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ProcessPoolExecutor

    from polyvoice.corpus.speak.speaker import Speaker
    from polyvoice.corpus.speak.texts import TextTable

MANIFEST = "pairs.tsv"
FAILURES = "failed.tsv"
SETTINGS = "speak.json"

_FAILURE_COLUMNS = ("id", "language", "reason")


@dataclass(frozen=True, slots=True)
class SpeakSettings:
    """What decides how a corpus sounds; a folder keeps them, and a run with others is refused.

    Attributes:
        speaker: What speaks; written down only.
        rate_hz: Samples per second of the FLAC files.
        slowest: Lowest speed; each row has one of its own, between this and `fastest`, fixed by hash.
        fastest: Highest speed.
        seed: For the choice of voices and speeds.

    Raises:
        InputError: The rate is not positive, or the speeds are not in order.
    """

    speaker: str
    rate_hz: int = 24_000
    slowest: float = 0.9
    fastest: float = 1.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise InputError(f"a sample rate is positive, not {self.rate_hz} Hz")
        if not 0 < self.slowest <= self.fastest:
            raise InputError(f"speeds from {self.slowest:g} to {self.fastest:g} are not positive and in order")


@dataclass(frozen=True, slots=True)
class SpeakSummary:
    """What a run found and wrote.

    Attributes:
        manifest: The pair manifest.
        failures: Table of what could not be spoken, with the reason.
        pairs: Rows of the manifest.
        failed: Rows of the other.
        spoken: Utterances that this run spoke.
        spoken_s: How long they last.
        rtf: Processor seconds of the workers for a second of them.
    """

    manifest: Path
    failures: Path
    pairs: int
    failed: int
    spoken: int
    spoken_s: float
    rtf: float

    def __str__(self) -> str:
        lines = (
            f"{self.manifest}: {self.pairs:,} pairs",
            f"{self.failures}: {self.failed:,} not spoken",
            f"{self.spoken:,} utterances spoken, {self.spoken_s / 3600:.3f} h, "
            f"{self.rtf:.2f} processor seconds a second",
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Job:
    """One text row in one voice: all that is to be said, and the pairs that come of it."""

    voice: str
    speed: float
    rate_hz: int
    texts: tuple[tuple[str, str, Path], ...]  # language, text, audio file
    pairs: tuple[PairRow, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a job: seconds spoken, processor seconds, and the reason for each language that failed."""

    spoken: int
    spoken_s: float
    worked_s: float
    failures: tuple[tuple[str, str], ...]  # language, reason


def speak_corpus(
    table: TextTable,
    out: Path,
    load_speaker: Callable[[], Speaker],
    voices: dict[str, str],
    settings: SpeakSettings,
    *,
    takes: int = 1,
    workers: int = 1,
) -> SpeakSummary:
    """Speak texts into audio files and a pair manifest that grows; a run that was killed goes on where it stopped.

    Every row is said by a voice of its split (by `takes` different ones), in each language of the pairs, by the same
    voice at the same speed. Rows are written in the order of the table once their audio is on the disk. What fails is
    written to a table of its own and not tried again; without a language, the pairs of the others still come.

    Args:
        table: What to say.
        out: Folder to write to: `pairs.tsv`, `failed.tsv`, `speak.json` and the folder `audio`.
        load_speaker: Gives the speaker; called in each worker, so it must be something that can be pickled.
        voices: `train` or `test` for each voice that may speak.
        settings: How it sounds.
        takes: Different voices for each row; a later run may ask for more.
        workers: Processes.

    Raises:
        InputError: There are too few voices, `takes` or `workers` is not positive, or the folder cannot be written, is
            of other settings, or another run is writing to it.
    """
    if takes < 1 or workers < 1:
        raise InputError(f"takes and workers are at least 1, not {takes} and {workers}")
    jobs = list(_plan(table, out, voices, settings, takes))
    claim_folder(out, SETTINGS, asdict(settings))
    with open_pool(workers, _prepare, (load_speaker,)) as pool:
        # First of all, so that what is wrong with the speaker is known before anything is spoken.
        pool.submit(_load_speaker).result()
        return _speak_jobs(jobs, out, pool)


def _speak_jobs(jobs: Sequence[_Job], out: Path, pool: ProcessPoolExecutor) -> SpeakSummary:
    with (
        GrowingTable(out / MANIFEST, COLUMNS) as manifest,
        GrowingTable(out / FAILURES, _FAILURE_COLUMNS) as failures,
    ):
        settled = manifest.keys | failures.keys
        waiting = [job for job in jobs if any(pair.id not in settled for pair in job.pairs)]
        with SpeakingProgress(len(jobs), len(jobs) - len(waiting)) as progress:
            for job, outcome in zip(waiting, pool.map(_speak_job, waiting), strict=True):
                _settle(job, outcome, manifest, failures)
                progress.count(outcome.spoken, outcome.spoken_s, outcome.worked_s)
        counts = (len(manifest.keys), len(failures.keys))
        return SpeakSummary(manifest.path, failures.path, *counts, progress.spoken, progress.spoken_s, progress.rtf)


def _plan(table: TextTable, out: Path, voices: dict[str, str], settings: SpeakSettings, takes: int) -> Iterator[_Job]:
    # All first takes come before the second ones, so that a run that is stopped has spoken as many texts as it could.
    for take in range(takes):
        for row in table.rows:
            voice = choose_voices(row.key, row.split, voices, take + 1, settings.seed)[take]
            at = hash_fraction("speed", str(settings.seed), row.key, voice)
            speed = settings.slowest + at * (settings.fastest - settings.slowest)
            # Two hundred folders at most: some file systems are slow with very many files in one.
            folder = out / "audio" / f"{int(200 * hash_fraction('folder', row.key)):03d}"
            spoken = {language: (text, folder / f"{row.key}.{voice}.{language}.flac") for language, text in row.texts}
            pairs = tuple(
                PairRow(
                    id=f"{row.key}.{voice}.{source}-{target}",
                    source_audio=spoken[source][1],
                    source_lang=source,
                    source_text=spoken[source][0],
                    target_audio=spoken[target][1],
                    target_lang=target,
                    target_text=spoken[target][0],
                    speaker=voice,
                    split=row.split,
                )
                for source, target in table.pairs
                if source in spoken and target in spoken
            )
            wanted = {language for pair in pairs for language in (pair.source_lang, pair.target_lang)}
            texts = tuple((language, *said) for language, said in spoken.items() if language in wanted)
            yield _Job(voice, round(speed, 3), settings.rate_hz, texts, pairs)


_get_speaker: Callable[[], Speaker]


def _prepare(load_speaker: Callable[[], Speaker]) -> None:
    """Runs first in each worker, whose own this global is."""
    global _get_speaker
    _get_speaker = cache(load_speaker)


def _load_speaker() -> None:
    _get_speaker()


def _speak_job(job: _Job) -> _Outcome:
    """Say all of a job's texts; runs in a worker."""
    speaker = _get_speaker()
    begun = process_time()
    spoken_s = 0.0
    failures = []
    for language, text, audio in job.texts:
        try:
            waveform = resample(speaker.speak(text, language, job.voice, job.speed), job.rate_hz)
        except (InputError, AudioInputError) as error:
            failures.append((language, " ".join(str(error).split())))
            continue
        audio.parent.mkdir(parents=True, exist_ok=True)
        write_flac(audio, waveform)
        spoken_s += waveform.duration_s
    return _Outcome(len(job.texts) - len(failures), spoken_s, process_time() - begun, tuple(failures))


def _settle(job: _Job, outcome: _Outcome, manifest: GrowingTable, failures: GrowingTable) -> None:
    """Write what came of a job: a kill may have left some of its rows, which are not written again."""
    reasons = dict(outcome.failures)
    done, failed = [], []
    for pair in job.pairs:
        if pair.id in manifest.keys or pair.id in failures.keys:
            continue
        bad = [language for language in (pair.source_lang, pair.target_lang) if language in reasons]
        if bad:
            failed.append(f"{pair.id}\t{bad[0]}\t{reasons[bad[0]]}")
        else:
            done.append(format_row(pair, manifest.path.parent))
    if failed:
        failures.append(failed)
    if done:
        manifest.append(done)
