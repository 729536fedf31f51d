"""Training our own codec: it learns, it resumes exactly, codes stay fixed in the last stage, data are drawn as told."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from speechunits.audio import Waveform, write_wav
from speechunits.cli.main import run
from speechunits.codecs.load import load_codec
from speechunits.codecs.speech_codec import load_speech_codec
from speechunits.codecs.speech_codec.codec import SpeechCodec
from speechunits.codecs.speech_codec.data import Crops, read_codec_data
from speechunits.codecs.speech_codec.discriminator import make_discriminators
from speechunits.codecs.speech_codec.losses import (
    Judgement,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    mel_distance,
    mel_loss,
)
from speechunits.codecs.speech_codec.settings import CodecSettings, CodecTraining
from speechunits.codecs.speech_codec.state import TrainingState
from speechunits.codecs.speech_codec.storage import round_as_stored
from speechunits.codecs.speech_codec.training import Trainer, _rate_factor, train_speech_codec
from speechunits.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = CodecTraining(
    codec=CodecSettings(
        mel_bands=20,
        encoder_width=16,
        encoder_blocks=1,
        latent_width=8,
        levels=4,
        codebook_size=16,
        decoder_width=32,
        decoder_blocks=1,
        spectrum_blocks=1,
        expansion=2,
    ),
    reconstruction_steps=12,
    adversarial_steps=8,
    decoder_steps=8,
    batch_clips=2,
    reconstruction_crop_s=0.3,
    adversarial_crop_s=0.2,
    warmup_steps=3,
    unquantized_steps=4,
    kmeans_batches=4,
    adversarial_width=4,
    decoder_stage_width=6,
    average_decay=0.9,
    held_out_clips=1,
    device="cpu",
    log_every=1,
    evaluate_every=7,
    checkpoint_minutes=0.0,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_waveform: Callable[..., Waveform]) -> Path:
    """A list of four clips, the second at another rate and the third shorter than a crop."""
    folder = tmp_path_factory.mktemp("clips")
    shapes = ((1.0, 16_000, "real"), (0.8, 24_000, "synthetic"), (0.15, 16_000, "synthetic"), (0.7, 16_000, "real"))
    rows = ["audio\tsource"]
    for number, (duration_s, rate_hz, source) in enumerate(shapes):
        write_wav(folder / f"{number}.wav", make_waveform(duration_s, number, rate_hz))
        rows.append(f"{number}.wav\t{source}")
    (folder / "list.tsv").write_text("\n".join(rows) + "\n")
    return folder / "list.tsv"


def read_figures(out: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "audio_s_per_s"} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert train_speech_codec(TINY, clips, out) == out / "codec"
    torch.set_num_threads(threads)
    return out


def test_a_codec_learns_two_seconds_by_heart(tmp_path: Path) -> None:
    time_s = np.arange(32_000) / 16_000
    voice = sum(np.sin(2 * np.pi * number * (140 + 30 * time_s) * time_s) / number for number in range(1, 12))
    sound = 0.2 * voice * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s)) + np.random.default_rng(0).normal(0, 0.01, 32_000)
    write_wav(tmp_path / "voice.wav", Waveform(sound.astype(np.float32), 16_000))
    (tmp_path / "list.tsv").write_text("audio\tsplit\nvoice.wav\ttrain\nvoice.wav\tdev\n")
    settings = replace(
        TINY,
        codec=replace(TINY.codec, mel_bands=40, encoder_width=32, decoder_width=64, codebook_size=32),
        reconstruction_steps=150,
        adversarial_steps=10,
        decoder_steps=10,
        batch_clips=4,
        reconstruction_rate=6e-3,
        unquantized_steps=10,
        kmeans_batches=8,
        gain_db=0.0,
        evaluate_every=200,
        checkpoint_minutes=60.0,
    )
    waveform = Waveform((np.round(sound * 32767) / 32768).astype(np.float32), 16_000)

    def measure(codec: SpeechCodec) -> float:
        decoded = codec.decode(codec.encode(waveform)).samples
        return mel_distance(torch.from_numpy(decoded), torch.from_numpy(waveform.samples), 16_000)

    untrained = measure(SpeechCodec(round_as_stored(TrainingState(settings, torch.device("cpu")).model, {})))
    codec = load_speech_codec(train_speech_codec(settings, tmp_path / "list.tsv", tmp_path / "run"))
    assert measure(codec) < 0.5 * untrained
    last = read_figures(tmp_path / "run")[-1]
    assert last["held_out_mel_distance_4"] == pytest.approx(measure(codec), rel=0.01)
    assert all(used > 4.0 for used in last["held_out_perplexities"])


def test_a_run_reports_every_stage(uninterrupted: Path) -> None:
    rows = read_figures(uninterrupted)
    assert Counter(row["stage"] for row in rows if "stage" in row) == {
        "reconstruction": 12,
        "adversarial": 8,
        "decoder": 8,
    }
    assert [row["step"] for row in rows if "held_out_mel_distance_2" in row] == [7, 14, 21, 28]
    assert "commitment" not in rows[3]
    assert "commitment" in rows[4]
    assert json.loads((uninterrupted / "run.json").read_text())["settings"] == asdict(TINY)


def test_killed_and_continued_is_uninterrupted(clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL in the first and in the last stage; the program saves after every step here."""
    program = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1); sys.path.insert(0, sys.argv[3])\n"
        "from test_speech_codec_training import TINY, train_speech_codec\n"
        "train_speech_codec(TINY, Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(clips), str(tmp_path), str(Path(__file__).parent)]
    metrics = tmp_path / "metrics.jsonl"
    for kill_after in (6, 22):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while not (metrics.exists() and f'"step": {kill_after},' in metrics.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    train_speech_codec(TINY, clips, tmp_path)
    assert read_figures(tmp_path) == read_figures(uninterrupted)
    for name in ("state.safetensors", "codec/model.safetensors", "codec/codec.json"):
        assert (tmp_path / name).read_bytes() == (uninterrupted / name).read_bytes()


def test_the_last_stage_leaves_the_codes_alone(clips: Path, uninterrupted: Path, tmp_path: Path, make_waveform) -> None:
    shutil.copytree(uninterrupted, tmp_path / "longer")
    longer = train_speech_codec(replace(TINY, decoder_steps=12), clips, tmp_path / "longer")
    before, after = (load_file(folder / "model.safetensors") for folder in (uninterrupted / "codec", longer))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == (not name.startswith("decoder.")), name
    old, new = load_speech_codec(uninterrupted / "codec"), load_speech_codec(longer)
    assert new.identity == old.identity
    codes = old.encode(make_waveform(0.9))
    np.testing.assert_array_equal(new.encode(make_waveform(0.9)), codes)
    assert not np.array_equal(new.decode(codes).samples, old.decode(codes).samples)


def test_the_stored_encoder_is_the_trained_one(uninterrupted: Path) -> None:
    trained = load_file(uninterrupted / "state.safetensors")
    for name, tensor in load_file(uninterrupted / "codec" / "model.safetensors").items():
        kept = trained[f"average/{name.removeprefix('decoder.')}" if name.startswith("decoder.") else f"codec/{name}"]
        # Frozen values were rounded when they were frozen; the decoder's are rounded for storing only.
        torch.testing.assert_close(kept, tensor.float(), rtol=1e-3 if name.startswith("decoder.") else 0.0, atol=1e-6)


def test_a_run_of_the_first_stage_alone_gives_a_codec(clips: Path, tmp_path: Path, make_waveform) -> None:
    settings = replace(TINY, adversarial_steps=0, decoder_steps=0, reconstruction_steps=6)
    codec = load_speech_codec(train_speech_codec(settings, clips, tmp_path))
    assert codec.encode(make_waveform(0.3)).shape == (4, 15)


def test_the_command_trains_and_continues(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_waveform
) -> None:
    options = ["--reconstruction-steps", "5", "--adversarial-steps", "0", "--decoder-steps", "2", "--batch-clips", "2"]
    options += ["--unquantized-steps", "2", "--kmeans-batches", "2", "--codec.codebook-size", "16", "--device", "cpu"]
    options += ["--codec.encoder-width", "16", "--codec.decoder-width", "16", "--decoder-stage-width", "2"]
    assert run(["train-codec", str(clips), "--out", str(tmp_path), "--held-out-clips", "1", *options]) == 0
    folder = capsys.readouterr().out.strip()
    assert folder == str(tmp_path / "codec")
    assert load_codec(folder).encode(make_waveform(0.2)).shape == (8, 10)
    finished = (tmp_path / "metrics.jsonl").read_text()
    assert run(["train-codec", str(clips), "--out", str(tmp_path), "--held-out-clips", "1", *options]) == 0
    assert (tmp_path / "metrics.jsonl").read_text() == finished
    options[1] = "6"
    assert run(["train-codec", str(clips), "--out", str(tmp_path), "--held-out-clips", "1", *options]) == 2
    assert "begun with reconstruction_steps = 5, not 6" in capsys.readouterr().err


def test_folders_of_other_runs_are_refused(clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mel_weight = 15\.0, not 3\.0"):
        train_speech_codec(replace(TINY, mel_weight=3.0), clips, uninterrupted)
    with pytest.raises(InputError, match="has taken 28 steps, 25 are asked for"):
        train_speech_codec(replace(TINY, decoder_steps=5), clips, uninterrupted)
    other = clips.with_name("other.tsv")
    other.write_text("audio\n0.wav\n3.wav\n")
    with pytest.raises(InputError, match="begun with list"):
        train_speech_codec(TINY, other, uninterrupted)
    shutil.copytree(uninterrupted, tmp_path / "damaged")
    (tmp_path / "damaged" / "state.safetensors").write_bytes(b"no state")
    with pytest.raises(InputError, match=r"state\.safetensors"):
        train_speech_codec(TINY, clips, tmp_path / "damaged")


def test_a_run_from_before_a_setting_was_there_goes_on(clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["units_of_list"], record["settings"]["units"], record["settings"]["codec"]["decoder_units"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    train_speech_codec(TINY, clips, tmp_path / "run")


def test_so_does_one_that_went_on_from_a_codec(clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    further = replace(TINY, base=str(uninterrupted / "codec"), decoder_steps=2)
    train_speech_codec(further, clips, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["heard_by"], record["settings"]["codec"]["decoder_source"]
    for name in ("source", "pitch_weight", "listener", "listener_layer", "listener_weight", "listener_crops"):
        del record["settings"][name]
    assert record["settings"]["guide_steps"] == TINY.guide_steps
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    train_speech_codec(replace(further, decoder_steps=3), clips, tmp_path / "run")


def test_a_loss_that_is_not_finite_is_never_saved(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step 1: gradient_norm"):
        train_speech_codec(replace(TINY, covariance_weight=float("inf"), warmup_steps=0), clips, tmp_path)
    assert not (tmp_path / "state.safetensors").exists()


def test_a_decoder_that_diverged_replaces_no_good_one(
    clips: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    further = replace(TINY, base=str(uninterrupted / "codec"), decoder_steps=3, evaluate_every=1)
    update, good = Trainer.update, {}

    def diverge(self: Trainer, step: int, *others: Any) -> dict[str, torch.Tensor]:
        if step == 2:
            good.update({path.name: path.read_bytes() for path in (tmp_path / "codec").iterdir()})
            for parameter in self._state.model.parameters():
                parameter.data.fill_(math.nan)
        return update(self, step, *others)

    monkeypatch.setattr(Trainer, "update", diverge)
    with pytest.raises(FloatingPointError, match="step 2: "):
        train_speech_codec(further, clips, tmp_path)
    assert good
    assert good == {path.name: path.read_bytes() for path in (tmp_path / "codec").iterdir()}


def test_rates_rise_stay_and_fall() -> None:
    first, second, third = replace(TINY, reconstruction_steps=100, decoder_steps=100).stages()
    assert [_rate_factor(step, first, 10) for step in (1, 5, 10, 50)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert _rate_factor(75, first, 10) == pytest.approx(0.51)
    assert _rate_factor(100, first, 10) == pytest.approx(0.02)
    assert _rate_factor(8, second, 0) == 1.0
    assert _rate_factor(50, third, 0) == pytest.approx(0.51)


def test_one_pass_gives_both_sides_their_gradients(clips: Path) -> None:
    """The shared graph of `_confront`, against two separate passes."""
    settings = replace(TINY, precision="fp32")
    state = TrainingState(settings, torch.device("cpu"))
    trainer = Trainer(settings, state, torch.device("cpu"))
    discriminators = make_discriminators(4, seed=1)
    chance = torch.Generator().manual_seed(2)
    real, decoded = torch.randn(2, 3200, generator=chance), torch.randn(2, 3200, generator=chance)
    pull, _ = trainer._confront(discriminators, decoded.clone(), real)
    got = {name: value.grad.clone() for name, value in discriminators.named_parameters()}

    discriminators.zero_grad()
    discriminator_loss(discriminators(real), discriminators(decoded)).backward()
    for name, value in discriminators.named_parameters():
        torch.testing.assert_close(got[name], value.grad)
    leaf = decoded.clone().requires_grad_()
    on_decoded = discriminators(leaf)
    wish = adversarial_loss(on_decoded) + settings.feature_weight * feature_loss(discriminators(real), on_decoded)
    (expected,) = torch.autograd.grad(wish, leaf)
    torch.testing.assert_close(pull, expected)


def test_losses_are_zero_where_they_should_be() -> None:
    samples = torch.randn(2, 4096, generator=torch.Generator().manual_seed(3))
    assert mel_loss(samples, samples, 16_000) == 0.0
    assert mel_loss(samples, 2.0 * samples, 16_000) == pytest.approx(np.log(2.0), rel=1e-4)
    assert mel_distance(samples[0], samples[0], 16_000) == 0.0
    sure, unsure = Judgement([torch.tensor([2.0])], [[torch.ones(3)]]), Judgement([torch.zeros(1)], [[torch.zeros(3)]])
    fooled = Judgement([torch.tensor([-2.0])], [[torch.ones(3)]])
    assert discriminator_loss(sure, fooled) == 0.0
    assert discriminator_loss(unsure, unsure) == 2.0
    assert adversarial_loss(sure) == 0.0
    assert feature_loss(sure, sure) == 0.0
    assert feature_loss(sure, unsure) == 1.0


def test_digital_silence_does_not_count_in_the_distance() -> None:
    noise = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(4))
    original = torch.cat((noise, torch.zeros(16_000)))
    hissing = torch.cat((noise, 1e-4 * torch.randn(16_000, generator=torch.Generator().manual_seed(5))))
    assert mel_distance(hissing, original, 16_000) < 0.02


# Data


def test_crops_depend_on_the_seed_and_the_step_alone(clips: Path) -> None:
    data = read_codec_data(clips, TINY)
    crops = Crops(data.train, TINY)
    batch = crops.batch(5, 0.3)
    assert batch.samples.shape == (2, 4800)
    assert batch.cues is None
    assert torch.equal(batch.samples, Crops(data.train, TINY).batch(5, 0.3).samples)
    assert not torch.equal(batch.samples, crops.batch(6, 0.3).samples)
    assert not torch.equal(batch.samples, Crops(data.train, replace(TINY, seed=1)).batch(5, 0.3).samples)


def test_crops_are_pieces_of_the_clips(tmp_path: Path) -> None:
    ramp = Waveform(np.arange(16_000, dtype=np.float32) / 32_768, 16_000)
    write_wav(tmp_path / "ramp.wav", ramp)
    write_wav(tmp_path / "short.wav", Waveform(np.full(800, 0.5, dtype=np.float32), 16_000))
    (tmp_path / "list.tsv").write_text(
        "audio\tsource\tsplit\nramp.wav\ta\ttrain\nshort.wav\tb\ttrain\nramp.wav\ta\tdev\n"
    )
    settings = replace(TINY, gain_db=0.0, batch_clips=400)
    rows = Crops(read_codec_data(tmp_path / "list.tsv", settings).train, settings).batch(0, 0.5).samples
    starts = []
    for row in rows:
        if row[-1] == 0.0:
            assert torch.equal(row[:800], torch.full((800,), 0.5))
            assert not row[800:].any()
        else:
            starts.append(round(float(row[0]) * 32_768))
            torch.testing.assert_close(row, torch.arange(starts[-1], starts[-1] + 8_000) / 32_768)
    assert 150 < len(starts) < 250  # sources are balanced, however much they hold
    assert min(starts) < 500
    assert max(starts) > 7_500


def test_gain_is_within_its_bounds(tmp_path: Path) -> None:
    write_wav(tmp_path / "level.wav", Waveform(np.full(16_000, 0.25, dtype=np.float32), 16_000))
    (tmp_path / "list.tsv").write_text("audio\tsplit\nlevel.wav\ttrain\nlevel.wav\tdev\n")
    settings = replace(TINY, batch_clips=200)
    levels = Crops(read_codec_data(tmp_path / "list.tsv", settings).train, settings).batch(0, 0.2).samples[:, 0]
    gains_db = 20 * torch.log10(levels / 0.25)
    assert gains_db.abs().max() <= 6.01
    assert gains_db.min() < -5.5
    assert gains_db.max() > 5.5


def test_going_on_from_a_codec_trains_its_decoder_alone(clips: Path, tmp_path: Path) -> None:
    first = train_speech_codec(TINY, clips, tmp_path / "first")
    other_shape = replace(TINY.codec, decoder_width=48)
    further = replace(TINY, codec=other_shape, base=str(first), decoder_steps=6, seed=5)
    second = train_speech_codec(further, clips, tmp_path / "second")
    before, after = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    assert load_speech_codec(first).identity == load_speech_codec(second).identity
    # Told to go on, a finished run leaves the codec as it is.
    train_speech_codec(further, clips, tmp_path / "second")
    again = load_file(second / "model.safetensors")
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_a_base_without_steps_or_without_a_codec_is_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the decoder is trained, and decoder_steps is 0"):
        replace(TINY, base="somewhere", decoder_steps=0)
    with pytest.raises(InputError, match=r"nowhere/codec\.json: No such file"):
        train_speech_codec(replace(TINY, base=str(tmp_path / "nowhere")), clips, tmp_path / "run")


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_come_in_order_whatever_the_first(clips: Path, readers: int) -> None:
    crops = Crops(read_codec_data(clips, TINY).train, replace(TINY, readers=readers))
    stages = {stage.first_step + offset: stage for stage in TINY.stages() for offset in range(stage.steps)}
    batches = list(crops.batches(stages, 11))
    assert [step for step, _, _ in batches] == list(range(11, 29))
    assert [batch.samples.shape[1] for _, _, batch in batches][:3] == [4800, 4800, 3200]
    for step, stage, batch in batches[:4]:
        assert torch.equal(batch.samples, crops.batch(step, stage.crop_s).samples)
    assert list(crops.batches(stages, 29)) == []  # a finished run is told to go on


def test_dev_rows_are_held_out_and_test_rows_left_alone(clips: Path) -> None:
    path = clips.with_name("split.tsv")
    path.write_text("split\taudio\ntrain\t0.wav\ndev\t1.wav\ntest\t2.wav\ntrain\t3.wav\n")
    data = read_codec_data(path, TINY)
    assert [clip.path.name for clip in data.train] == ["0.wav", "3.wav"]
    assert [clip.path.name for clip in data.held_out] == ["1.wav"]
    assert data.held_out[0].duration_s == pytest.approx(0.8)
    path.write_text("audio\n0.wav\n3.wav\n1.wav\n")
    chosen = read_codec_data(path, TINY).held_out
    path.write_text("audio\n1.wav\n0.wav\n3.wav\n")
    assert read_codec_data(path, TINY).held_out == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column audio"),
        ("path\n0.wav\n", "no column audio"),
        ("audio\tsource\n0.wav\n", "line 2 has 1 cells, the header 2"),
        ("audio\n0.wav\nabsent.wav\n", "line 3: .*absent.wav is missing"),
        ("audio\nlist.tsv\n", "line 2: .*list.tsv is missing or not audio"),
        ("audio\n0.wav\n", "none is left to train on"),
    ],
)
def test_wrong_lists_are_refused(clips: Path, text: str, message: str) -> None:
    path = clips.with_name("wrong.tsv")
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_codec_data(path, TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_clips": 0}, "batch_clips must be at least 1"),
        ({"adversarial_rate": 0.0}, "adversarial_rate must be above 0"),
        ({"average_decay": 1.0}, "average_decay must be below 1"),
        ({"unquantized_steps": 12}, "must be fewer than reconstruction_steps"),
        ({"adversarial_crop_s": 0.1}, "must span 2,048 samples"),
        ({"codec": replace(TINY.codec, codebook_size=4096)}, "too few for 4096 codes"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TINY, **change)
