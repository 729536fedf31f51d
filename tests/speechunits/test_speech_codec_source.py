"""A decoder that filters pulses at the voice's pitch, and noise: the source itself, its pitch, its training."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from speechunits.audio import Waveform, write_wav
from speechunits.codecs.speech_codec import load_speech_codec
from speechunits.codecs.speech_codec.codec import SpeechCodec
from speechunits.codecs.speech_codec.data import Crops, read_codec_data
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.pitch import follow_pitch
from speechunits.codecs.speech_codec.settings import CodecSettings, CodecTraining
from speechunits.codecs.speech_codec.source import Pitch, Source, _pulses, pitch_loss
from speechunits.codecs.speech_codec.storage import round_as_stored, write_codec
from speechunits.codecs.speech_codec.training import train_speech_codec
from speechunits.errors import InputError
from speechunits.extracted import Extracted, ExtractedInfo, UnitsInfo, write_extracted

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = CodecSettings(
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
SHAPE = PLAIN.with_source()


def make_model(settings: CodecSettings = SHAPE) -> CodecModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = CodecModel(settings)
        torch.manual_seed(5)  # the same codebooks, whatever came before
        torch.nn.init.normal_(model.quantizer.codebooks)
    return round_as_stored(model, {})


def make_pitch(hz: float, spectra: int, rows: int = 1) -> Pitch:
    return Pitch(torch.full((rows, spectra), math.log(hz)), torch.ones(rows, spectra))


def hum(hz: NDArray[np.float64], rate_hz: int = 16_000) -> NDArray[np.float32]:
    """Twelve harmonics of a gliding pitch, one value a sample."""
    angle = 2.0 * np.pi * np.cumsum(hz) / rate_hz
    return np.asarray(sum(np.cos(n * angle) / n for n in range(1, 13)) * 0.1, dtype=np.float32)


def find_hz(samples: NDArray[np.float32], rate_hz: int = 16_000) -> float:
    """The pitch of a steady sound, by the highest peak of its autocorrelation between 60 and 500 Hz."""
    middle = samples[1600:-1600].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle, 2 * len(middle))) ** 2
    likeness = np.fft.irfft(spectrum)
    first, last = rate_hz // 500, rate_hz // 60
    return rate_hz / (first + int(np.argmax(likeness[first:last])))


# The source


def test_pulses_are_all_harmonics_in_phase() -> None:
    log_hz = torch.linspace(math.log(90.0), math.log(310.0), 40)[None]
    voiced = torch.tensor([[1.0] * 25 + [0.0] * 15])
    found = _pulses(Pitch(log_hz, voiced), None, 160, 16_000)[0].double().numpy()
    centres, places = np.arange(40) * 160 + 79.5, np.arange(40 * 160)
    hz = np.exp(np.interp(places, centres, log_hz[0].double().numpy()))
    cycles = np.cumsum(hz / 16_000)
    waves = np.stack([np.cos(2 * np.pi * n * cycles) * (n * hz <= 8_000) for n in range(1, 100)])
    expected = waves.sum(0) * np.sqrt(hz / 4_000) * np.interp(places, centres, voiced[0].numpy())
    # A harmonic at half the rate may be in for one and out for the other.
    edge = np.abs(8_000 / hz - np.round(8_000 / hz)) < 1e-3
    np.testing.assert_allclose(found[~edge], expected[~edge], atol=5e-3)
    assert edge.mean() < 0.1


@pytest.mark.parametrize("hz", [80.0, 250.0])
def test_pulses_are_as_loud_as_noise_in_every_band(hz: float) -> None:
    pulses, noise = Source(SHAPE)(make_pitch(hz, 200), None, None)
    bands = [(abs(of[0, 10:-10, :320]) ** 2).mean(0).view(8, 40).mean(1) for of in (pulses, noise)]
    np.testing.assert_allclose(bands[0].log(), bands[1].log(), atol=0.5)


@pytest.mark.parametrize("hz", [100.0, 160.0, 250.0])
def test_it_sounds_at_the_pitch_that_is_given(hz: float) -> None:
    model, latent = make_model(), torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        sound, foretold = model.decoder.speak(latent, None, None, make_pitch(hz, 100))
    assert find_hz(sound[0].numpy()) == pytest.approx(hz, rel=0.01)
    assert foretold is not None
    assert foretold.log_hz.shape == foretold.voiced.shape == (1, 100)


def test_where_nothing_is_voiced_there_is_noise_alone() -> None:
    source, unvoiced = Source(SHAPE), Pitch(torch.full((1, 30), 5.0), torch.zeros(1, 30))
    pulses, noise = source(unvoiced, None, None)
    assert not pulses.any()
    assert (abs(noise).mean(2) > 0.3).all()
    rolled = source(unvoiced, None, torch.tensor([160 * 7]))[1]
    torch.testing.assert_close(rolled[:, 2:20], noise[:, 9:27])


def test_a_batch_is_what_single_calls_are() -> None:
    model, frames = make_model(), (14, 20, 9)
    codes = torch.randint(16, (3, 3, 20), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(20) < torch.tensor(frames)[:, None]
    with torch.no_grad():
        assert model.decoder.source is not None
        model.decoder.source.end.bias[1] = 3.0  # voiced
    with torch.inference_mode():
        together = model.decode(codes, mask)
        for row, count in enumerate(frames):
            alone = model.decode(codes[:, row : row + 1, :count])
            torch.testing.assert_close(together[row, : count * 320], alone[0], atol=2e-4, rtol=1e-3)


def test_it_is_stored_and_sounds_the_same(tmp_path: Path) -> None:
    model = make_model()
    write_codec(tmp_path, model)
    codes = np.random.default_rng(0).integers(0, 16, (3, 30))
    stored = load_speech_codec(tmp_path)
    np.testing.assert_array_equal(stored.decode(codes).samples, SpeechCodec(model).decode(codes).samples)
    assert stored.identity == SpeechCodec(make_model(PLAIN)).identity  # codes do not depend on the decoder
    assert json.loads((tmp_path / "codec.json").read_text())["codec"]["decoder_source"] == 1
    assert "decoder_source" not in PLAIN.describe()


# The pitch


def test_the_pitch_of_a_recording_is_followed() -> None:
    hz = np.concatenate((np.full(24_000, 120.0), np.geomspace(120.0, 240.0, 24_000)))
    samples = np.concatenate((hum(hz), np.zeros(16_000, np.float32)))
    log_hz, voiced = follow_pitch(Waveform(samples, 16_000), 100.0, 400)
    expected = np.log(hz[80::160])
    assert np.abs(log_hz[10:290] - expected[10:290]).max() < 0.03
    assert voiced[10:290].all()
    assert not voiced[310:].any()
    # At another rate it is the same.
    fast = follow_pitch(Waveform(hum(np.full(72_000, 150.0), 24_000), 24_000), 100.0, 300)
    assert np.abs(fast[0, 10:290] - math.log(150.0)).max() < 0.02
    long = follow_pitch(Waveform(np.tile(hum(np.full(16_000, 125.0)), 600), 16_000), 100.0, 60_000)  # ten minutes
    assert np.abs(long[0, 100:-100] - math.log(125.0)).max() < 0.03
    silence = follow_pitch(Waveform(np.zeros(8_000, np.float32), 16_000), 100.0, 50)
    assert silence.shape == (2, 50)
    assert not silence[1].any()


def test_the_loss_counts_octaves_where_a_voice_sounds() -> None:
    true = Pitch(torch.tensor([[5.0, 5.0, 5.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    sure = torch.tensor([[30.0, 30.0, 30.0, -30.0]])
    assert float(pitch_loss(Pitch(true.log_hz + torch.tensor([[0.0, 0.0, 0.0, 9.0]]), sure), true)) < 1e-9
    octave = Pitch(true.log_hz + math.log(2.0), sure)
    assert float(pitch_loss(octave, true)) == pytest.approx(1.0, rel=1e-5)
    unsure = Pitch(true.log_hz, torch.zeros(1, 4))
    assert float(pitch_loss(unsure, true)) == pytest.approx(math.log(2.0), rel=1e-5)


def test_a_foretold_pitch_is_decided_within_bounds() -> None:
    for log_hz, hz in ((0.0, 50.0), (5.0, math.exp(5.0)), (9.0, 600.0)):
        decided = Pitch(torch.full((1, 3), log_hz), torch.tensor([[-0.1, 0.1, 3.0]])).decided(None)
        torch.testing.assert_close(decided.log_hz.exp(), torch.full((1, 3), hz))
        assert decided.voiced.tolist() == [[0.0, 1.0, 1.0]]


def test_a_foretold_pitch_is_smooth_where_a_voice_sounds() -> None:
    chance = torch.Generator().manual_seed(0)
    slow = 5.0 + 0.2 * torch.sin(torch.arange(100) / 15.0)
    rough = Pitch((slow + 0.05 * torch.randn(100, generator=chance))[None], torch.full((1, 100), 9.0))
    smooth = rough.decided(None).log_hz
    assert smooth.diff().abs().mean() < 0.4 * rough.log_hz.diff().abs().mean()
    assert (smooth - slow).abs().mean() < 0.6 * (rough.log_hz - slow).abs().mean()
    # What is foretold where nothing sounds does not matter.
    voiced = torch.where(torch.arange(100) < 50, 12.0, -12.0)[None]
    astray = torch.where(torch.arange(100) < 50, slow, 1.0)[None]
    assert (Pitch(astray, voiced).decided(None).log_hz[0, :50] - slow[:50]).abs().max() < 0.03
    # What comes behind a row's end neither.
    mask = (torch.arange(100) < 60)[None]
    longer = Pitch(torch.where(mask, rough.log_hz, 9.0), rough.voiced).decided(mask).log_hz[:, :60]
    alone = Pitch(rough.log_hz[:, :60], rough.voiced[:, :60]).decided(None).log_hz
    torch.testing.assert_close(longer, alone)


# Training


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices, low and high, one file at another rate and one shorter than a crop."""
    folder = tmp_path_factory.mktemp("clips")
    rows, extracted = ["audio\tsplit"], []
    kinds = [
        (100.0, 1.2, 16_000),
        (110.0, 1.0, 24_000),
        (210.0, 1.2, 16_000),
        (230.0, 0.15, 16_000),
        (105.0, 1.0, 16_000),
    ]
    for number, (hz, seconds, rate_hz) in enumerate(kinds):
        glide = np.geomspace(hz, hz * 1.1, int(seconds * rate_hz))
        write_wav(folder / f"{number}.wav", Waveform(hum(glide, rate_hz), rate_hz))
        rows.append(f"{number}.wav\t{'dev' if number == 4 else 'train'}")
        units = np.arange(int(seconds * 50), dtype=np.int64) % 6
        extracted.append(Extracted(f"{number}.wav", seconds, units, None))
    (folder / "list.tsv").write_text("\n".join(rows) + "\n")
    write_extracted(folder / "units", ExtractedInfo(UnitsInfo("encoder", "kmeans", 6, 50.0), None), extracted)
    write_codec(folder / "base", make_model(PLAIN))
    return folder / "list.tsv"


def course_on(clips: Path, **changes: object) -> CodecTraining:
    course = CodecTraining(
        codec=PLAIN,
        base=str(clips.parent / "base"),
        source=True,
        guide_steps=4,
        decoder_steps=3,
        batch_clips=3,
        reconstruction_crop_s=0.3,
        adversarial_crop_s=0.2,
        warmup_steps=2,
        decoder_stage_width=4,
        average_decay=0.5,
        held_out_clips=1,
        device="cpu",
        log_every=1,
        evaluate_every=5,
        checkpoint_minutes=0.0,
    )
    return replace(course, **changes)  # type: ignore[arg-type]


def read_pitch_losses(out: Path) -> list[float]:
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [row["pitch"] for row in rows if "pitch" in row]


def test_crops_know_their_own_pitch(clips: Path) -> None:
    settings = course_on(clips, codec=SHAPE, batch_clips=12)
    batch = Crops(read_codec_data(clips, settings).train, settings).batch(1, 0.3)
    assert batch.pitch is not None
    assert batch.pitch.log_hz.shape == (12, 30)
    whole = 0
    for samples, log_hz, voiced in zip(batch.samples, batch.pitch.log_hz, batch.pitch.voiced, strict=True):
        sounds = samples.abs().view(30, 160).amax(1) > 1e-4
        assert not voiced[~sounds].any()  # a short clip's end
        if sounds.all() and voiced.all():
            whole += 1
            [alone, _] = follow_pitch(Waveform(samples.numpy(), 16_000), 100.0, 30)
            assert np.abs(log_hz.numpy() - alone)[5:-5].max() < 0.05
    assert whole > 4


def test_a_decoder_learns_its_source(clips: Path, tmp_path: Path) -> None:
    course = course_on(clips, guide_steps=120, decoder_steps=2, reconstruction_rate=4e-3, evaluate_every=1000)
    folder = train_speech_codec(course, clips, tmp_path / "run")
    losses = read_pitch_losses(tmp_path / "run")
    assert len(losses) == 122
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    before, after = load_file(clips.parent / "base" / "model.safetensors"), load_file(folder / "model.safetensors")
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert all(name.startswith("decoder.") for name in changed)
    assert after["decoder.end.weight"].shape[0] == 3 * 321


@pytest.mark.parametrize("told", [False, True], ids=["source alone", "units and a listener, too"])
def test_killed_and_continued_is_uninterrupted(clips: Path, tmp_path: Path, told: bool, killed_after) -> None:
    course = course_on(clips, **({"units": str(clips.parent / "units"), "listener": "mfcc"} if told else {}))
    whole = load_file(train_speech_codec(course, clips, tmp_path / "whole") / "model.safetensors")
    for steps in (2, 5):  # within each of the stages
        out = tmp_path / f"stopped{steps}"
        with killed_after(steps):
            train_speech_codec(course, clips, out)
        found = load_file(train_speech_codec(course, clips, out) / "model.safetensors")
        assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_from_a_base_with_a_source_it_goes_on_at_once(clips: Path, tmp_path: Path) -> None:
    first = train_speech_codec(course_on(clips), clips, tmp_path / "first")
    for source in (True, False):  # it keeps what it has, said or not
        out = tmp_path / f"further-{source}"
        train_speech_codec(course_on(clips, base=str(first), source=source), clips, out)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [row["stage"] for row in rows if "stage" in row] == ["decoder"] * 3
        assert len(read_pitch_losses(out)) == 3


def test_a_codec_may_have_a_source_from_the_start(clips: Path, tmp_path: Path) -> None:
    stages = {"reconstruction_steps": 3, "adversarial_steps": 2, "decoder_steps": 2, "unquantized_steps": 1}
    course = course_on(clips, base="", source=False, codec=SHAPE, kmeans_batches=2, **stages)
    codec = load_speech_codec(train_speech_codec(course, clips, tmp_path / "run"))
    assert len(read_pitch_losses(tmp_path / "run")) == 7
    assert np.isfinite(codec.decode(np.zeros((3, 10), np.int64)).samples).all()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: CodecTraining(source=True), "source is for the decoder of a base"),
        (lambda: replace(PLAIN, decoder_source=2), "decoder_source is 0 or 1, not 2"),
        (lambda: CodecTraining(pitch_weight=-1.0), "pitch_weight must be at least 0"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()
