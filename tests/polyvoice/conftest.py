"""What a user has: recordings and a fairseq HuBERT checkpoint, here a tiny random one."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fairseq.data import Dictionary
    from fairseq.models.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    torch.manual_seed(11)
    config = HubertConfig(
        label_rate=50.0,
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=16,
        encoder_attention_heads=2,
        conv_feature_layers="[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        conv_pos=8,
        conv_pos_groups=2,
    )
    dictionary = Dictionary()
    model = HubertModel(config, HubertPretrainingConfig(label_rate=50.0), [dictionary])
    path = tmp_path_factory.mktemp("checkpoint") / "hubert.pt"
    options = {"model": {**asdict(config), "_name": "hubert"}, "task": {"sample_rate": 16_000, "normalize": False}}
    state = {"cfg": options, "model": model.state_dict(), "task_state": {"dictionaries": [dictionary]}}
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of different rate, format and number of channels: 0.8 s and 1.5 s of changing tones."""
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    paths = []
    for name, rate_hz, channels, duration_s in (("one.wav", 16_000, 1, 0.8), ("two.flac", 44_100, 2, 1.5)):
        time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
        steps = 200.0 + 150.0 * np.floor(6 * time_s)
        sound = 0.5 * np.sin(2 * np.pi * steps * time_s) + 0.01 * generator.normal(size=time_s.size)
        soundfile.write(folder / name, np.repeat(sound[:, None], channels, axis=1), rate_hz)
        paths.append(folder / name)
    return paths
