"""What is done to one row of an evaluation, and by whom: named in a few words, so that other machines can do it too."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from polyvoice.corpus.manifest import PairRow
from polyvoice.errors import InputError
from polyvoice.evaluation.judges import Judges, load_judges
from polyvoice.evaluation.recordings import Recordings
from polyvoice.evaluation.rows import EvaluatedRow, Translation
from polyvoice.evaluation.unit_encoder import ClusteredUnits, UnitEncoder, load_unit_encoder
from polyvoice.pipeline.protocol import Translated, Translator
from polyvoice.pipeline.settings import PipelineOptions
from speechunits.audio import Waveform, read_audio
from speechunits.devices import require_device

if TYPE_CHECKING:
    from polyvoice.bundle.loading import Bundle

System = Translator | Recordings


@dataclass(frozen=True)
class Staff:
    """Who translates and who judges, by name.

    Attributes:
        bundle: folder of models; None is the one that ships with this package, unless there are `outputs`.
        outputs: speech of another system, in place of a translator.
        options: how the bundle translates.
        recognizers: as `create_recognizer` takes them.
        languages: target languages.
        encoder: hears units, with `layer` and `kmeans`; None takes the bundle's.
        layer: the encoder's.
        kmeans: file of its centroids.
        skip: metrics that are not wanted.
        device: torch device.

    Raises:
        InputError: an encoder lacks its layer or its centroids.
    """

    bundle: Path | None = None
    outputs: Path | None = None
    options: PipelineOptions = field(default_factory=PipelineOptions)
    recognizers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    encoder: str | None = None
    layer: int | None = None
    kmeans: Path | None = None
    skip: tuple[str, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        if (self.encoder, self.layer, self.kmeans).count(None) not in (0, 3):
            raise InputError("the unit error rate needs all three of --encoder, --layer and --kmeans")

    def load_system(self) -> System:
        """Load what is evaluated.

        Raises:
            InputError: there is no such bundle or folder; so does `load_judges`.
        """
        if self.outputs is not None:
            return Recordings(self.outputs)
        from polyvoice.pipeline.translator import SpeechTranslator

        return SpeechTranslator(_load_bundle(self.bundle, self.device), self.options)

    def load_judges(self) -> Judges:
        """Load everyone whose packages are installed."""
        require_device(self.device)
        units = self._load_unit_encoder()
        return load_judges(self.recognizers, self.languages, units=units, skip=self.skip, device=self.device)

    def _load_unit_encoder(self) -> UnitEncoder | None:
        if self.encoder is not None and self.layer is not None and self.kmeans is not None:
            return load_unit_encoder(self.encoder, self.layer, self.kmeans, self.device)
        if self.outputs is not None and self.bundle is None:
            return None
        bundle = _load_bundle(self.bundle, self.device)
        return ClusteredUnits(bundle.encoder, bundle.kmeans)


@lru_cache(maxsize=1)
def _load_bundle(folder: Path | None, device: str) -> Bundle:
    from polyvoice.bundle import load
    from polyvoice.bundle.shipped import shipped_bundle

    return load(folder or shipped_bundle(), device)


class Employer(Hashable, Protocol):
    """Provides who translates and who judges, such as `Staff`."""

    def load_system(self) -> System:
        """What is evaluated."""

    def load_judges(self) -> Judges:
        """Who judges."""


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """A translated row, on its way to the judges.

    Attributes:
        position: the row's place in the manifest, from 0.
        row: the manifest's.
        translation: of this row.
        out: the run's folder.
    """

    position: int
    row: PairRow
    translation: Translation
    out: Path


@dataclass(frozen=True)
class TranslateRows:
    """A recipe (`speechunits.engine`): rows to what the system says.

    Attributes:
        employer: provides the system.
        seed: of all translations.
    """

    employer: Employer
    seed: int

    def prepare(self) -> Callable[[PairRow], Translated]:
        """See `speechunits.engine.Recipe`."""
        system = self.employer.load_system()
        if isinstance(system, Recordings):
            raise InputError(f"{system.identity}: recordings are found, not translated")
        system.warm_up()
        return partial(translate_row, system, self.seed)


@dataclass(frozen=True)
class JudgeRows:
    """A recipe (`speechunits.engine`): translated rows to judged ones.

    Attributes:
        employer: provides the judges.
    """

    employer: Employer

    def prepare(self) -> Callable[[JudgeTask], EvaluatedRow]:
        """See `speechunits.engine.Recipe`."""
        return partial(judge_row, self.employer.load_judges())


@dataclass(frozen=True, eq=False)
class Present:
    """System and judges that are in this process already.

    Attributes:
        system: what is evaluated.
        judges: who judges.
    """

    system: System
    judges: Judges

    def load_system(self) -> System:
        """The system."""
        return self.system

    def load_judges(self) -> Judges:
        """The judges."""
        return self.judges


def translate_row(system: Translator, seed: int, row: PairRow) -> Translated:
    """Translate a row; the same row of another manifest gets the same speech.

    Args:
        system: translates.
        seed: of all translations; the row's own follows from this one and its id, not from its position.
        row: the manifest's.

    Raises:
        speechunits.errors.InputError: the audio file cannot be read.
    """
    own_seed = zlib.crc32(f"{seed} {row.id}".encode())
    return system.translate(_read_source(row), row.source_lang, row.target_lang, seed=own_seed)


def judge_row(judges: Judges, task: JudgeTask) -> EvaluatedRow:
    """Judge a translated row beside its reference speech.

    Raises:
        speechunits.errors.InputError: an audio file cannot be read.
    """
    row, translation = task.row, task.translation
    source = _read_source(row)
    output = read_audio(task.out / translation.audio) if translation.audio else None
    target = read_audio(row.target_audio) if row.target_audio else None
    source_units, output_units, target_units = judges.hear_units([source, output, target])
    reference = judges.refer(source, row.target_text, row.target_lang, target_units)
    return EvaluatedRow(
        position=task.position,
        id=row.id,
        source_lang=row.source_lang,
        target_lang=row.target_lang,
        source_audio=relative_to_run(_source_path(row), task.out),
        source_text=row.source_text,
        source_duration_s=source.duration_s,
        source_units=source_units,
        target_audio=relative_to_run(row.target_audio, task.out) if row.target_audio else None,
        target_text=row.target_text,
        translation=translation,
        output=judges.judge(output, output_units, reference),
        reference=judges.judge(target, target_units, reference) if target else None,
    )


def relative_to_run(path: Path, out: Path) -> str:
    """A path as seen from the run's folder, so that both can be moved together."""
    return Path(os.path.relpath(path, out)).as_posix()


def _source_path(row: PairRow) -> Path:
    if row.source_audio is None:
        raise InputError(f"row {row.id}: there is no source_audio")
    return row.source_audio


def _read_source(row: PairRow) -> Waveform:
    return read_audio(_source_path(row))
