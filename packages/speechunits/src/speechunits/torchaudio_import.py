"""Import torchaudio where its compiled part does not fit the installed torch.

The torchaudio wheels on PyPI are linked against CUDA but do not pin a torch build. Beside a CPU torch their extension
fails to load and `import torchaudio` raises OSError, although nothing that EnCodec needs (resampling, in plain torch)
lives in it. torchaudio already knows how to do without the extension, so it only has to be told that there is none.
"""

import importlib
import sys
from types import ModuleType
from typing import TypeVar

Function = TypeVar("Function")


def import_torchaudio() -> ModuleType:
    """Return torchaudio; if its compiled extension cannot be loaded, torchaudio without it.

    Call this before anything that imports torchaudio by itself, such as encodec.

    Raises:
        ImportError: torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        # The failed import leaves submodules behind that would be picked up half-made by the second try.
        for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _AbsentExtension("torchaudio._extension")
        return importlib.import_module("torchaudio")


class _AbsentExtension(ModuleType):
    """Stand-in for `torchaudio._extension` that reports every compiled part as missing."""

    __path__: list[str] = []  # noqa: RUF012  (a module attribute: it makes the module look like a package)
    _IS_TORCHAUDIO_EXT_AVAILABLE = False
    _IS_ALIGN_AVAILABLE = False

    @staticmethod
    def _check_cuda_version() -> None:
        return None

    @staticmethod
    def fail_if_no_align(function: Function) -> Function:
        return function
