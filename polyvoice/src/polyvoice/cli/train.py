"""`polyvoice train`: train a stage, or go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg, subcommand

from polyvoice.errors import InputError
from polyvoice.stages.duration.settings import DurationSettings
from polyvoice.stages.encoder.settings import EncoderSettings
from polyvoice.stages.synthesize.settings import FirstLevelSettings, OtherLevelsSettings
from polyvoice.stages.translate.settings import TranslateSettings
from speechunits.codecs.speech_codec.settings import CodecTraining
from unitlm.dry_run import DryRun

if TYPE_CHECKING:
    from polyvoice.stages.dry_run import StageSettings


@dataclass(frozen=True, slots=True)
class _Pairs:
    """What every stage of a translation is trained on.

    Attributes:
        manifest: Pair manifest; its split train is learned, its split dev watched.
        extracted: Folder of `speechunits extract`, made of all audio in the manifest.
        out: The run's folder; the finished stage is in its folder model/.
        machines: For --dry-run, which needs none of the three; without EXTRACTED it counts for 1,000 units and
            EnCodec's 8 x 1,024 codes.
        json: Print the figures of --dry-run as one JSON object.
    """

    manifest: Positional[Path | None] = None
    extracted: Positional[Path | None] = None
    out: Positional[Path | None] = None
    machines: Annotated[DryRun, arg(name="")] = field(default_factory=DryRun)
    json: bool = False

    def _count(self, settings: StageSettings) -> bool:
        """Print what the training would cost, if that is what was asked for."""
        if not self.machines.dry_run:
            return False
        from polyvoice.stages.dry_run import estimate_stage
        from unitlm.dry_run import print_estimate

        print_estimate(estimate_stage(settings, self.machines, self.extracted), as_json=self.json)
        return True

    def _places(self) -> tuple[Path, Path, Path]:
        """Manifest, extracted and out."""
        if self.manifest is None or self.extracted is None or self.out is None:
            raise InputError("training needs MANIFEST, EXTRACTED and OUT; only --dry-run does without")
        return self.manifest, self.extracted, self.out


@dataclass(frozen=True, slots=True)
class Translate(_Pairs):
    """U-XLM: source units to target units, with text as a help where there is some.

    Attributes:
        settings: Size, examples and course.
    """

    settings: Annotated[TranslateSettings, arg(name="")] = field(default_factory=TranslateSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        if not self._count(self.settings):
            from polyvoice.stages.translate.training import train_translate

            print(train_translate(*self._places(), self.settings))


@dataclass(frozen=True, slots=True)
class Duration(_Pairs):
    """Duration LM: how many frames each unit of a translation lasts.

    Attributes:
        settings: Size, examples and course.
    """

    settings: Annotated[DurationSettings, arg(name="")] = field(default_factory=DurationSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        if not self._count(self.settings):
            from polyvoice.stages.duration.training import train_duration

            print(train_duration(*self._places(), self.settings))


@dataclass(frozen=True, slots=True)
class FirstLevel(_Pairs):
    """U-SLM, autoregressive: units to codec level 0, in the voice of a prompt.

    Attributes:
        settings: Size, examples and course.
    """

    settings: Annotated[FirstLevelSettings, arg(name="")] = field(default_factory=FirstLevelSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        if not self._count(self.settings):
            from polyvoice.stages.synthesize.training import train_first_level

            print(train_first_level(*self._places(), self.settings))


@dataclass(frozen=True, slots=True)
class OtherLevels(_Pairs):
    """U-SLM, non-autoregressive: the other codec levels, one pass a level.

    Attributes:
        settings: Size, examples and course.
    """

    settings: Annotated[OtherLevelsSettings, arg(name="")] = field(default_factory=OtherLevelsSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        if not self._count(self.settings):
            from polyvoice.stages.synthesize.training import train_other_levels

            print(train_other_levels(*self._places(), self.settings))


@dataclass(frozen=True, slots=True)
class Synthesize:
    """U-SLM: units to codec codes, in the voice of a prompt; two models.

    Attributes:
        model: Which of the two.
    """

    model: Annotated[
        Annotated[FirstLevel, subcommand("first-level")] | Annotated[OtherLevels, subcommand("other-levels")],
        arg(name=""),
    ]

    def run(self) -> None:
        """Train the one that was asked for."""
        self.model.run()


@dataclass(frozen=True, slots=True)
class Encoder:
    """A small HuBERT that hears speech as a teacher does, or better: it learns to name the teacher's units.

    Attributes:
        settings: Labels, audio, the run's folder, and everything else.
    """

    settings: Annotated[EncoderSettings, arg(name="")]

    def run(self) -> None:
        """Train, and print where the checkpoint is."""
        from polyvoice.stages.encoder.training import train_encoder

        result = train_encoder(self.settings)
        if result.checkpoint is None:
            stopped = f"stopped at step {result.step} of {self.settings.course.steps}"
            raise InputError(f"{self.settings.out}: {stopped}; give the same command to go on")
        print(result.checkpoint)


@dataclass(frozen=True, slots=True)
class Codec:
    """A small neural codec: speech to codes of a few levels, and back.

    Attributes:
        audio_list: Table with a column audio: what to learn.
        out: The run's folder; the finished codec is in its folder codec/.
        settings: Shape, losses and course.
    """

    audio_list: Positional[Path]
    out: Positional[Path]
    settings: Annotated[CodecTraining, arg(name="")] = field(default_factory=CodecTraining)

    def run(self) -> None:
        """Train, and print where the codec is."""
        from speechunits.codecs.speech_codec.training import train_speech_codec

        print(train_speech_codec(self.settings, self.audio_list, self.out))


@dataclass(frozen=True, slots=True)
class Presets:
    """Print the sizes of all stages in all presets."""

    def run(self) -> None:
        """Print the table."""
        from polyvoice.stages.dry_run import describe_presets

        print(describe_presets())


@dataclass(frozen=True, slots=True)
class Train:
    """Train a stage. Killed runs go on where they stopped: give the same command again.

    Attributes:
        stage: What to train.
    """

    stage: Annotated[
        Annotated[Codec, subcommand("codec")]
        | Annotated[Encoder, subcommand("encoder")]
        | Annotated[Translate, subcommand("translate")]
        | Annotated[Duration, subcommand("duration")]
        | Annotated[Synthesize, subcommand("synthesize")]
        | Annotated[Presets, subcommand("presets")],
        arg(name=""),
    ]

    def run(self) -> None:
        """Train what was asked for."""
        self.stage.run()
