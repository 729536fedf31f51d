"""Training a small HuBERT: its loss and file against fairseq's own, exact resumption, and that it learns."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from polyvoice.errors import InputError
from polyvoice.stages.encoder.model import build_hubert, draw_mask, label_logits, predict_labels, write_hubert
from polyvoice.stages.encoder.settings import Augmentation, EncoderCourse, EncoderSettings, HubertShape, Masking
from polyvoice.stages.encoder.training import train_encoder
from speechunits.audio import Waveform, write_wav
from speechunits.encoders.hubert import load_fairseq_hubert
from speechunits.extracted import Extracted, ExtractedInfo, UnitsInfo, write_extracted
from unitlm.metrics import read_metrics

SHAPE = HubertShape(
    conv_layers="[(16,40,20)] + [(24,3,2)] * 2 + [(32,2,2)] * 2",
    layers=2,
    width=32,
    heads=2,
    feed_forward_width=64,
    position_kernel=8,
    position_groups=4,
    label_width=16,
    dropout=0.1,
)
TONES_HZ = (300.0, 700.0, 1_600.0, 3_500.0)
PLAIN = Augmentation(resample_probability=0.0, equalizer_db=0.0, noise_probability=0.0, mix_probability=0.0)


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> tuple[Path, Path]:
    """Folder of audio and folder of labels: tones of 0.2 s in a fixed order, each labelled with its pitch.

    The next tone follows from the last one, so hidden frames can be told from their surroundings.
    """
    folder = tmp_path_factory.mktemp("tones")
    generator = np.random.default_rng(0)
    rows = []
    for number in range(24):
        frames = int(generator.integers(70, 120))
        offset = int(generator.integers(0, 40))
        positions = np.arange(frames) + offset
        samples = np.arange((frames - 1) * 320 + 400)
        pitch = np.array(TONES_HZ)[(samples // 320 + offset) // 10 % 4]
        sound = 0.3 * np.sin(2 * np.pi * pitch * samples / 16_000) + generator.normal(0, 0.01, samples.size)
        write_wav(folder / f"{number}.wav", Waveform(sound.astype(np.float32), 16_000))
        rows.append(Extracted(f"{number}.wav", samples.size / 16_000, positions // 10 % 4, None))
    write_extracted(folder / "labels", ExtractedInfo(UnitsInfo("tones", "by hand", 4, 50.0), None), rows)
    return folder, folder / "labels"


def settings_for(tones: tuple[Path, Path], out: Path, **course: object) -> EncoderSettings:
    values = {
        "steps": 6,
        "batch_frames": 600,
        "learning_rate": 4e-3,
        "warmup_steps": 2,
        "average_decay": 0.9,
        "precision": "fp32",
        "held_out_share": 0.2,
        "evaluate_every": 3,
        "checkpoint_minutes": 60.0,
        "log_every": 1,
        "device": "cpu",
    }
    audio, labels = tones
    return EncoderSettings((labels,), audio, out, shape=SHAPE, course=EncoderCourse(**{**values, **course}))


def test_loss_equals_fairseq():
    """With the same mask, labels and weights, fairseq's own forward pass gives the same losses, masked and not."""
    torch.manual_seed(0)
    masking = Masking(masked_weight=1.0, heard_weight=0.0)
    model = build_hubert(SHAPE, masking, [7, 5]).eval()
    generator = np.random.default_rng(0)
    sound = torch.randn(2, 16_000)
    labels = torch.stack([torch.randint(0, count, (2, 49)) for count in (7, 5)])
    mask = torch.from_numpy(draw_mask(2, 49, masking, generator))
    ours = predict_labels(model, sound, labels, mask, masking)
    heard = predict_labels(model, sound, labels, mask, Masking(masked_weight=0.0, heard_weight=1.0))

    model.apply_mask = lambda x, _padding, _targets: (torch.where(mask[..., None], model.mask_emb, x), mask)
    normalized = torch.nn.functional.layer_norm(sound, sound.shape[-1:])
    output = model(normalized, target_list=list(labels), padding_mask=torch.zeros(2, 16_000, dtype=torch.bool))
    for name, found in (("logit_m_list", ours), ("logit_u_list", heard)):
        logits = output[name]  # the right label stands first
        losses = [torch.nn.functional.cross_entropy(part, torch.zeros(len(part), dtype=torch.long)) for part in logits]
        torch.testing.assert_close(found.loss, sum(losses) / 2, atol=1e-5, rtol=1e-5)
        correct = sum(int((part.argmax(dim=1) == 0).sum()) for part in logits)
        assert int(found.masked_correct if name == "logit_m_list" else found.heard_correct) == correct


def test_cosines_do_not_see_lengths():
    projected, embeddings = torch.randn(3, 4), torch.randn(5, 4)
    expected = torch.nn.functional.cosine_similarity(projected[:, None], embeddings[None], dim=-1) / 0.5
    torch.testing.assert_close(label_logits(3.0 * projected, 0.2 * embeddings, 0.5), expected)


def test_mask_hides_spans_and_about_the_asked_share():
    masking = Masking(mask_share=0.5, mask_frames=10)
    generator = np.random.default_rng(1)
    mask = np.concatenate([draw_mask(4, 250, masking, generator) for _ in range(50)])
    assert 0.36 < mask.mean() < 0.43  # 1 - exp(-0.5) = 0.39: spans may overlap
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(int), axis=1)
    lengths = np.flatnonzero(edges.ravel() == -1) - np.flatnonzero(edges.ravel() == 1)
    assert lengths.min() >= 10
    assert draw_mask(1, 4, masking, generator).shape == (1, 4)
    assert not draw_mask(2, 50, Masking(mask_share=0.0), generator).any()


def test_the_file_gives_the_features_of_the_trained_model(tmp_path):
    torch.manual_seed(2)
    masking = Masking()
    model = build_hubert(SHAPE, masking, [7]).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # fresh norms hide mix-ups; what is stored is half precision
            parameter.copy_((parameter + 0.05 * torch.randn_like(parameter)).half())
    path = tmp_path / "hubert.pt"
    write_hubert(path, model, SHAPE, masking, [7], steps=3)
    sound = np.random.default_rng(0).normal(0.1, 0.2, 9_000).astype(np.float32)
    normalized = torch.nn.functional.layer_norm(torch.from_numpy(sound), (9_000,))
    for layer in (1, 2):
        [found] = load_fairseq_hubert(path, layer).encode([Waveform(sound, 16_000)])
        with torch.inference_mode():
            expected, _ = model.extract_features(normalized[None], mask=False, output_layer=layer)
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-5)


def test_fairseq_itself_reads_the_file(tmp_path):
    from fairseq import checkpoint_utils

    torch.manual_seed(2)
    path = tmp_path / "hubert.pt"
    write_hubert(path, build_hubert(SHAPE, Masking(), [7]), SHAPE, Masking(), [7], steps=3)
    # torch.load's default since 2.6 is the reader that runs nothing: plain data is enough for fairseq.
    [model], configuration, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert configuration.task.normalize is True
    sound = np.random.default_rng(0).normal(0.0, 0.2, 8_000).astype(np.float32)
    normalized = torch.nn.functional.layer_norm(torch.from_numpy(sound), (8_000,))
    with torch.inference_mode():
        expected, _ = model.eval().extract_features(normalized[None], mask=False, output_layer=2)
    [found] = load_fairseq_hubert(path, 2).encode([Waveform(sound, 16_000)])
    np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-5)


def test_learns_tones(tones, tmp_path):
    """Four labels: chance is a quarter. Hidden frames are told from what surrounds them, heard ones by their pitch."""
    result = train_encoder(
        replace(settings_for(tones, tmp_path / "run", steps=120, evaluate_every=60), augmentation=PLAIN)
    )
    assert result.held_out is not None
    assert result.held_out.heard_accuracy > 0.9
    assert result.held_out.masked_accuracy > 0.5
    card = json.loads((tmp_path / "run" / "encoder.json").read_text())
    assert card["parameters"] == result.parameters < 100_000
    encoder = load_fairseq_hubert(result.checkpoint, 2)
    assert (encoder.frame_rate_hz, encoder.dimension) == (50.0, 32)


def figures(run: Path) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "times_real_time"} for row in read_metrics(run)]


def test_killed_and_continued_equals_uninterrupted(tones, tmp_path):
    """SIGKILL in mid-run, then the same command: same figures, bit for bit, and the same file."""
    whole = train_encoder(settings_for(tones, tmp_path / "whole", steps=12))
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_hubert_training import settings_for; from polyvoice.stages.encoder.training import train_encoder\n"
        "audio = Path(sys.argv[2])\n"
        "train_encoder(settings_for((audio, audio / 'labels'), Path(sys.argv[3]), steps=12, checkpoint_minutes=0.0))\n"
    )
    arguments = [str(Path(__file__).parent), str(tones[0]), str(tmp_path / "killed")]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= 4:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "hubert.pt").exists()
    again = train_encoder(settings_for(tones, tmp_path / "killed", steps=12))
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")
    assert again.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_a_finished_run_is_only_evaluated_and_another_is_refused(tones, tmp_path):
    settings = settings_for(tones, tmp_path / "run", steps=3)
    first = train_encoder(settings)
    assert train_encoder(settings) == first
    with pytest.raises(ValueError, match=r"masking\.mask_share = 0\.5, not 0\.3"):
        train_encoder(replace(settings, masking=Masking(mask_share=0.3)))


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="a frame every 160 samples through 400"):
        build_hubert(replace(SHAPE, conv_layers="[(16,400,160)]"), Masking(), [4])
    with pytest.raises(InputError, match="multiple of heads"):
        replace(SHAPE, heads=5)
    with pytest.raises(InputError, match="nothing is asked"):
        Masking(mask_share=0.0, heard_weight=0.0)


def test_command(tones, tmp_path, capsys):
    from polyvoice.cli.main import run

    audio, labels = tones
    course = {"steps": 2, "batch-frames": 400, "warmup-steps": 0, "held-out-share": 0.2, "precision": "fp32"}
    shape = {"conv-layers": SHAPE.conv_layers, "layers": 1, "width": 16, "heads": 2, "position-groups": 2}
    options = [f"--{name}={value}" for name, value in {**course, **shape}.items()]
    command = ["train", "encoder", "--audio-folder", str(audio), "--out", str(tmp_path / "run"), *options]
    assert run([*command, "--labels", str(labels)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "run" / "hubert.pt")]
    assert run([*command, "--labels", str(tmp_path)]) == 2
    assert "there is nothing extracted in it" in capsys.readouterr().err


def test_a_step_without_a_finite_gradient_is_left_out(tones, tmp_path, monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_
    calls = []

    def clip_some(parameters, most):
        parameters = list(parameters)
        calls.append(parameters[0].detach().clone())
        return torch.tensor(float("nan")) if len(calls) in (2, 3) else clip(parameters, most)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip_some)
    result = train_encoder(settings_for(tones, tmp_path / "run"))
    assert result.step == 6
    # The second and third step change nothing, the others do.
    unchanged = [torch.equal(before, after) for before, after in pairwise(calls)]
    assert unchanged == [False, True, True, False, False]
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, most: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match=r"step 5.*5 times"):
        train_encoder(settings_for(tones, tmp_path / "hopeless"))
