"""Small models and vocabularies that the tests of unitlm share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unitlm.alphabet import Bytes, Smiles, Units
from unitlm.model import Decoder, ModelConfig
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

TASK_LINES = {
    "S2ST": "translate {src:zh.units} to {tgt:en.units}",
    "ASR": "transcribe {src:zh.units} as {text:zh.text}",
    "MT": "translate {src:zh.text} to {tgt:en.text}",
    "TTS": "say {text:en.text} in {tgt:en.units}",
    "ST": "translate {src:zh.units} to {tgt:en.text}",
    "chain": "translate {src:zh.units} by way of {heard:zh.text!} and {said:en.text!} to {tgt:en.units!}",
    "durations": "time {tgt:en.units} after {src:zh.units} {src_runs:runs} as {tgt_runs:runs}",
    "codec": "speak {src:zh.units} {tgt:en.units} like {prompt:codec.0} as {codes:codec.0}",
    "mol2cap": "describe {molecule:smiles} as {caption:en.text}",
    "cap2mol": "draw {caption:en.text} as {molecule:smiles}",
}


@pytest.fixture(scope="session")
def tasks() -> dict[str, Task]:
    return {name: Task.parse(line) for name, line in TASK_LINES.items()}


@pytest.fixture(scope="session")
def vocabulary(tasks: dict[str, Task]) -> Vocabulary:
    alphabets = [
        Units("zh.units", 12),
        Units("en.units", 9),
        Bytes("zh.text"),
        Bytes("en.text"),
        Units("runs", 20),
        *(Units(f"codec.{level}", 16) for level in range(8)),
        Smiles("smiles", ["[C@H]", "[O-]", "Cl"]),
    ]
    return Vocabulary.build(alphabets, tasks.values())


def tiny_decoder(seed: int = 0, **changes: object) -> Decoder:
    """A random decoder of a few thousand parameters, with weights large enough that its choices are clear-cut."""
    settings: dict[str, object] = {
        "vocabulary_size": 40,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "key_value_heads": 2,
        "feed_forward_width": 48,
        "tied": False,
    }
    model = Decoder(ModelConfig(**{**settings, **changes}))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


@pytest.fixture(scope="session")
def make_decoder() -> Callable[..., Decoder]:
    return tiny_decoder


@pytest.fixture
def decoder() -> Decoder:
    return tiny_decoder()
