"""Sound, a random HuBERT in fairseq's published layout, and the golden fixture that the fairseq wheel carries."""

import importlib.util
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform
from speechunits.codecs.speech_codec.diary import Diary
from speechunits.speakers.campplus import CamPlusPlus


@dataclass(frozen=True)
class TinyHubert:
    """A saved checkpoint beside the model that was saved."""

    path: Path
    model: Any  # fairseq's HubertModel


@dataclass(frozen=True)
class GoldenUtterance:
    """LibriSpeech 6313-76958-0021 with HuBERT-base layer-9 features [596, 768] and their 500-cluster units [596]."""

    audio: Path
    features: np.ndarray
    units: np.ndarray


@pytest.fixture
def killed_after() -> Callable[[int], AbstractContextManager[None]]:
    """Kill a codec's training when it has taken one step more than so many: that one is lost."""

    class StopError(Exception):
        pass

    @contextmanager
    def killed(steps: int) -> Iterator[None]:
        advance = Diary.advance

        def stopping(diary: Diary, step: int, audio_s: float) -> None:
            advance(diary, step, audio_s)
            if step > steps:
                raise StopError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Diary, "advance", stopping)
            with pytest.raises(StopError):
                yield

    return killed


@pytest.fixture(scope="session")
def golden_utterance() -> GoldenUtterance:
    package = importlib.util.find_spec("fairseq")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "examples" / "hubert" / "tests"
    return GoldenUtterance(
        audio=folder / "6313-76958-0021.flac",
        features=np.load(folder / "sample.base.L9.npy"),
        units=np.array((folder / "sample.base.L9.km500.km").read_text().split(), dtype=np.int64),
    )


@pytest.fixture(scope="session")
def make_waveform() -> Callable[..., Waveform]:
    def make(duration_s: float, seed: int = 0, rate_hz: int = 16_000) -> Waveform:
        """A gliding tone under noise: no two frames are alike."""
        time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
        noise = np.random.default_rng(seed).normal(0.0, 0.05, time_s.size)
        tone = 0.4 * np.sin(2 * np.pi * (150.0 + 90.0 * seed + 80.0 * time_s) * time_s)
        return Waveform((tone + noise).astype(np.float32), rate_hz)

    return make


@pytest.fixture(scope="session")
def save_tiny_hubert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyHubert]:
    """Make a random HuBERT with the frame geometry of the published ones and save it as fairseq's trainer does."""
    from fairseq.data import Dictionary
    from fairseq.models.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    def save(layout: str = "cfg", normalize: bool = False, **options: Any) -> TinyHubert:
        torch.manual_seed(7)
        config = HubertConfig(
            label_rate=50.0,
            encoder_layers=3,
            encoder_embed_dim=32,
            encoder_ffn_embed_dim=48,
            encoder_attention_heads=4,
            conv_feature_layers="[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
            conv_pos=16,
            conv_pos_groups=4,
            final_dim=8,
            **options,
        )
        dictionary = Dictionary()
        for unit in range(20):
            dictionary.add_symbol(str(unit))
        task = HubertPretrainingConfig(data="labels", labels=["km"], label_rate=50.0, normalize=normalize)
        model = HubertModel(config, task, [dictionary]).eval()
        with torch.no_grad():  # fresh biases and norms are 0 and 1, which would hide a mix-up
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))

        state = {"model": model.state_dict(), "task_state": {"dictionaries": [dictionary]}, "extra_state": {"epoch": 3}}
        task_options = {name: value for name, value in asdict(task).items() if not str(value).startswith("${")}
        if layout == "cfg":
            state["args"] = None
            state["cfg"] = {
                "model": {**asdict(config), "_name": "hubert", "an_option_of_a_later_version": 1},
                "task": {**task_options, "_name": "hubert_pretraining"},
            }
        else:
            state["args"] = Namespace(**{**task_options, **asdict(config), "arch": "hubert"})
        path = tmp_path_factory.mktemp("hubert") / "checkpoint_best.pt"
        torch.save(state, path)
        return TinyHubert(path, model)

    return save


@pytest.fixture(scope="session")
def scatter() -> Callable[[int, float], torch.Tensor]:
    """Make so many numbers from -1 to 1 without a visible order, the same everywhere."""
    return _scatter


@pytest.fixture(scope="session")
def save_speaker_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Save a CAM++ with made-up weights of a seed as 3D-Speaker saves its own; return the file."""

    def save(seed: int) -> Path:
        path = tmp_path_factory.getbasetemp() / f"campplus-{seed}.pt"
        torch.save(_make_speaker_weights(seed), path)
        return path

    return save


def _scatter(count: int, start: float) -> torch.Tensor:
    """Numbers from -1 to 1 without a visible order, the same everywhere."""
    values = (torch.arange(count, dtype=torch.float64) * 12.9898 + start).sin() * 43758.5453
    return 2.0 * (values - values.floor()) - 1.0


def _make_speaker_weights(seed: int) -> dict[str, torch.Tensor]:
    """Weights of the published shapes, by a rule that another implementation can follow."""
    state = CamPlusPlus().state_dict()
    for place, (name, tensor) in enumerate(sorted(state.items())):
        if not tensor.is_floating_point():
            continue
        values = _scatter(tensor.numel(), 78.233 + place + 0.5 * seed).view(tensor.shape)
        fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
        if name.endswith("running_var"):
            tensor.copy_(1.0 + 0.3 * values)
        elif tensor.dim() > 1:
            tensor.copy_(2.0 * values / fan_in**0.5)
        else:
            tensor.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * values)
    return state
