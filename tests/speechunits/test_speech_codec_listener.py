"""Encoders listen while a codec is trained: their gradients, what they change, and who cannot listen."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform, write_wav
from speechunits.codecs.speech_codec.losses import heard_loss
from speechunits.codecs.speech_codec.settings import CodecSettings, CodecTraining
from speechunits.codecs.speech_codec.training import train_speech_codec
from speechunits.encoders.hubert import load_fairseq_hubert
from speechunits.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = CodecSettings(
    mel_bands=20,
    encoder_width=16,
    encoder_blocks=1,
    latent_width=8,
    levels=3,
    codebook_size=16,
    decoder_width=24,
    decoder_blocks=1,
    spectrum_blocks=1,
    expansion=2,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_waveform: Callable[..., Waveform]) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(4):
        write_wav(folder / f"{seed}.wav", make_waveform(0.8, seed))
    (folder / "list.tsv").write_text("audio\n" + "".join(f"{seed}.wav\n" for seed in range(4)))
    return folder / "list.tsv"


def course(listener: str, **changes: object) -> CodecTraining:
    values: dict[str, object] = {
        "codec": SHAPE,
        "listener": listener,
        "listener_layer": 1,
        "reconstruction_steps": 60,
        "adversarial_steps": 2,
        "decoder_steps": 2,
        "unquantized_steps": 10,
        "kmeans_batches": 2,
        "batch_clips": 4,
        "reconstruction_crop_s": 0.3,
        "adversarial_crop_s": 0.2,
        "reconstruction_rate": 4e-3,
        "warmup_steps": 5,
        "held_out_clips": 1,
        "device": "cpu",
        "log_every": 1,
        "evaluate_every": 1000,
    }
    return CodecTraining(**(values | changes))  # type: ignore[arg-type]


def read_losses(out: Path, name: str) -> list[float]:
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [row[name] for row in rows if name in row]


def test_an_encoder_hears_what_it_encodes_and_gives_a_gradient(save_tiny_hubert, make_waveform) -> None:
    encoder = load_fairseq_hubert(save_tiny_hubert().path, 1)
    waveforms = [make_waveform(0.5, seed) for seed in range(3)]
    samples = torch.from_numpy(np.stack([each.samples for each in waveforms])).requires_grad_()
    heard = encoder.hear(samples)
    for row, features in zip(heard.detach().numpy(), encoder.encode(waveforms), strict=True):
        np.testing.assert_allclose(row, features, atol=1e-4)
    # The gradient is that of a small change.
    (gradient,) = torch.autograd.grad(heard.double().sum(), samples)
    step = torch.zeros_like(samples)
    step[1, 3000] = 1e-2
    with torch.no_grad():
        change = (encoder.hear(samples + step) - encoder.hear(samples - step)).double().sum() / 2e-2
    assert float(gradient[1, 3000]) == pytest.approx(float(change), rel=0.05, abs=1e-3)


def test_the_loss_is_relative_to_what_changes_over_time() -> None:
    right = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(0))
    assert float(heard_loss(right, right)) == 0.0
    wrong = right + 0.5
    assert float(heard_loss(wrong, right)) == pytest.approx(float(heard_loss(10.0 * wrong, 10.0 * right)), rel=1e-4)
    # What is the same all the time says nothing.
    assert float(heard_loss(wrong + 7.0, right + 7.0)) == pytest.approx(float(heard_loss(wrong, right)), rel=1e-4)


def test_what_is_listened_to_is_heard_better(clips: Path, tmp_path: Path, save_tiny_hubert) -> None:
    listener = str(save_tiny_hubert().path)
    train_speech_codec(course(listener, listener_weight=0.0), clips, tmp_path / "without")
    train_speech_codec(course(listener, listener_weight=20.0), clips, tmp_path / "with")
    without, heard = (read_losses(tmp_path / name, "heard") for name in ("without", "with"))
    assert len(heard) == 64  # in every stage
    assert np.mean(heard[40:60]) < 0.9 * np.mean(without[40:60])


def test_who_cannot_listen_is_refused(clips: Path, tmp_path: Path) -> None:
    other = replace(SHAPE, sample_rate_hz=8_000)
    with pytest.raises(InputError, match="mfcc: hears speech at 16000 Hz, not the codec's 8000"):
        train_speech_codec(course("mfcc", codec=other, adversarial_crop_s=0.3), clips, tmp_path / "rate")
    with pytest.raises(InputError, match=r"encoder './nothing' is neither"):
        train_speech_codec(course("./nothing"), clips, tmp_path / "name")
    assert not (tmp_path / "name").exists()  # the right name may be given now


def test_a_listener_is_known_by_what_it_is(clips: Path, tmp_path: Path, save_tiny_hubert) -> None:
    first, moved, other = save_tiny_hubert().path, tmp_path / "moved.pt", save_tiny_hubert(layout="args").path
    moved.write_bytes(first.read_bytes())
    short = {"reconstruction_steps": 12, "adversarial_steps": 1}
    train_speech_codec(course(str(first), **short), clips, tmp_path / "run")
    train_speech_codec(course(str(moved), decoder_steps=3, **short), clips, tmp_path / "run")
    assert len(read_losses(tmp_path / "run", "heard")) == 16
    with pytest.raises(InputError, match="begun with heard_by"):
        train_speech_codec(course(str(other), **short), clips, tmp_path / "run")


def test_crops_that_are_listened_to_are_whole_numbers() -> None:
    with pytest.raises(InputError, match="listener_crops must be at least 1"):
        course("", listener_crops=0)


def test_a_voice_that_is_asked_for_is_kept_better(clips: Path, tmp_path: Path, save_speaker_encoder) -> None:
    short = {
        "reconstruction_steps": 30,
        "adversarial_steps": 1,
        "decoder_steps": 1,
        "speaker_crops": 1,
        "speaker_encoder": str(save_speaker_encoder(0)),
    }
    train_speech_codec(course("", speaker_weight=0.0, **short), clips, tmp_path / "without")
    # Embeddings by made-up weights differ little.
    train_speech_codec(course("", speaker_weight=2000.0, **short), clips, tmp_path / "with")
    without, kept = (read_losses(tmp_path / name, "speaker") for name in ("without", "with"))
    assert len(kept) == 32  # in every stage
    assert np.mean(kept[15:30]) < 0.9 * np.mean(without[15:30])


def test_a_speaker_encoder_is_known_by_its_weights(clips: Path, tmp_path: Path, save_speaker_encoder) -> None:
    short = {"reconstruction_steps": 12, "adversarial_steps": 1, "decoder_steps": 1, "speaker_crops": 1}
    train_speech_codec(course("", speaker_encoder=str(save_speaker_encoder(0)), **short), clips, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["voices_heard_by"].startswith("campplus sha256:")
    assert record["heard_by"] == ""
    other = str(save_speaker_encoder(1))
    with pytest.raises(InputError, match="begun with voices_heard_by"):
        train_speech_codec(course("", speaker_encoder=other, **short), clips, tmp_path / "run")


def test_a_codec_at_another_rate_has_no_speaker_encoder(clips: Path, tmp_path: Path, save_speaker_encoder) -> None:
    other = replace(SHAPE, sample_rate_hz=8_000)
    settings = course("", codec=other, adversarial_crop_s=0.3, speaker_encoder=str(save_speaker_encoder(0)))
    with pytest.raises(InputError, match="hears speech at 16000 Hz, not the codec's 8000"):
        train_speech_codec(settings, clips, tmp_path / "rate")
