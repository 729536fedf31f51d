"""`polyvoice train`: train a stage, or go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from polyvoice.stages.translate.settings import TranslateSettings


@dataclass(frozen=True, slots=True)
class Translate:
    """U-XLM: source units to target units, with text as a help where there is some.

    Attributes:
        manifest: Pair manifest; its split train is learned, its split dev watched.
        extracted: Folder of `speechunits extract`, with units of all audio in the manifest.
        out: The run's folder; the finished stage is in its folder model/.
        settings: Size, examples and course.
    """

    manifest: Positional[Path]
    extracted: Positional[Path]
    out: Positional[Path]
    settings: Annotated[TranslateSettings, arg(name="")] = field(default_factory=TranslateSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        from polyvoice.stages.translate.training import train_translate

        print(train_translate(self.manifest, self.extracted, self.out, self.settings))


@dataclass(frozen=True, slots=True)
class Presets:
    """Print the sizes of all stages in all presets."""

    def run(self) -> None:
        """Print the table."""
        from polyvoice.stages.presets import describe_presets

        print(describe_presets())


@dataclass(frozen=True, slots=True)
class Train:
    """Train a stage. Killed runs go on where they stopped: give the same command again. Runs under torchrun too.

    Attributes:
        stage: What to train.
    """

    stage: Annotated[
        Annotated[Translate, subcommand("translate")] | Annotated[Presets, subcommand("presets")],
        arg(name=""),
    ]

    def run(self) -> None:
        """Train what was asked for."""
        self.stage.run()
