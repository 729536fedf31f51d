"""How natural speech sounds, predicted without a reference: mean opinion scores from 1 to 5."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.evaluation.missing import find_versions, need, not_installed
from speechunits.audio import resample
from speechunits.torchaudio_import import import_torchaudio

if TYPE_CHECKING:
    from speechunits.audio import Waveform

_RATE_HZ = 16_000


class DistillMos:
    """Distill-MOS (Stahl and Gamper, ICASSP 2025), the score `mos`: a small model taught by a large one (XLS-R SQA)."""

    metric = "mos"

    def __init__(self, device: str = "cpu") -> None:
        """Load the model that lies in the package.

        Raises:
            MissingError: a package is not installed.
        """
        try:
            # distillmos imports torchaudio, whose wheel does not fit every torch.
            import_torchaudio()
        except ModuleNotFoundError as error:
            raise not_installed("mos", error) from error
        [package] = need("mos", "distillmos")
        # It prints where its weights are, on the stream that belongs to results.
        with contextlib.redirect_stdout(io.StringIO()):
            self._model = package.ConvTransformerSQAModel().eval().to(device)
        self._device = device
        self.versions = find_versions("distillmos", "xls-r-sqa", "torch")

    def judge(self, waveform: Waveform) -> float:
        """The predicted mean opinion score, 1 to 5."""
        import torch

        samples = torch.from_numpy(resample(waveform, _RATE_HZ).samples)[None].to(self._device)  # [1, T]
        with torch.inference_mode():
            return float(self._model(samples).item())


class DnsMos:
    """DNSMOS P.835 (Reddy et al., arXiv 2110.01763), overall quality, the score `dnsmos`."""

    metric = "dnsmos"

    def __init__(self) -> None:
        """Load the models that lie in the package.

        Raises:
            MissingError: a package is not installed.
        """
        [package] = need("dnsmos", "speechmos.dnsmos")
        folder = Path(str(package.__file__)).parent / "dnsmos_models"
        self._model = package.DNSMOS(str(folder / "sig_bak_ovr.onnx"), str(folder / "model_v8.onnx"))
        self.versions = find_versions("speechmos", "onnxruntime", "librosa")

    def judge(self, waveform: Waveform) -> float:
        """The predicted overall opinion score, 1 to 5; short speech is repeated to 9 s, as its authors do."""
        samples = np.clip(resample(waveform, _RATE_HZ).samples, -1.0, 1.0)
        return float(self._model(samples, _RATE_HZ, False)["ovrl_mos"])
