"""Our own codec without its training: features, network, quantiser, storage, and what users call."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from speechunits.audio import Waveform
from speechunits.codecs.load import load_codec
from speechunits.codecs.protocol import Codes, SoftCodes
from speechunits.codecs.speech_codec import load_speech_codec
from speechunits.codecs.speech_codec.codec import SpeechCodec
from speechunits.codecs.speech_codec.features import frame, hann, log_mel, magnitudes, mel_filters, overlap_add
from speechunits.codecs.speech_codec.model import CodecModel, _synthesize
from speechunits.codecs.speech_codec.quantizer import (
    ResidualQuantizer,
    Whitening,
    covariance_penalty,
    draw_levels,
    perplexities,
)
from speechunits.codecs.speech_codec.settings import CodecSettings
from speechunits.codecs.speech_codec.storage import identify_codes, round_as_stored, write_codec
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio

TINY = CodecSettings(
    mel_bands=20,
    encoder_width=16,
    encoder_blocks=1,
    latent_width=8,
    levels=4,
    codebook_size=32,
    decoder_width=24,
    decoder_blocks=1,
    spectrum_blocks=1,
    expansion=2,
)


def make_model(settings: CodecSettings = TINY, seed: int = 0) -> CodecModel:
    """Random weights, with a latent whitened on a glide of tones and codebooks of falling size for it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CodecModel(settings)
        scales = 0.5 ** torch.arange(settings.levels)[:, None, None]
        model.quantizer.codebooks.copy_(scales * torch.randn(model.quantizer.codebooks.shape))
        time_s = torch.arange(32_000)[None] / 16_000
        with torch.no_grad():
            latent = model.encoder(torch.sin(2 * torch.pi * (200 + 900 * time_s) * time_s) * time_s)
        model.whitening.mean.copy_(latent.mean((0, 1)))
        model.whitening.variance.copy_(latent.var((0, 1)))
    return round_as_stored(model, {})


@pytest.fixture(scope="module")
def codec() -> SpeechCodec:
    return SpeechCodec(make_model())


# Features


def test_overlap_add_is_the_adjoint_of_frame() -> None:
    chance = torch.Generator().manual_seed(1)
    samples = torch.randn(2, 960, generator=chance, dtype=torch.float64)
    frames = torch.randn(2, 6, 640, generator=chance, dtype=torch.float64)
    assert frame(samples, 640, 160).shape == frames.shape
    torch.testing.assert_close((frame(samples, 640, 160) * frames).sum(), (samples * overlap_add(frames, 160)).sum())


def test_magnitudes_are_those_of_torch_stft() -> None:
    samples = torch.randn(3, 1600, generator=torch.Generator().manual_seed(2))
    padded = torch.nn.functional.pad(samples, (240, 240))
    expected = torch.stft(padded, 640, 160, window=torch.hann_window(640), center=False, return_complex=True)
    torch.testing.assert_close(magnitudes(samples, 640, 160), expected.abs().transpose(1, 2) / 640**0.5)


@pytest.mark.parametrize(("window", "bands"), [(640, 80), (128, 10), (2048, 160)])
def test_mel_filters_are_torchaudios(window: int, bands: int) -> None:
    expected = import_torchaudio().functional.melscale_fbanks(window // 2 + 1, 0.0, 8_000.0, bands, 16_000)
    filters = mel_filters(16_000, window, bands, torch.device("cpu"))
    torch.testing.assert_close(filters, expected, atol=2e-4, rtol=0.0)  # torchaudio computes in float32
    assert (filters.sum(0) > 0).all()


def test_log_mel_of_silence_is_finite() -> None:
    assert torch.isfinite(log_mel(torch.zeros(1, 1600), 16_000, 640, 160, 80)).all()


def test_synthesis_inverts_analysis_up_to_the_edges() -> None:
    samples = torch.randn(2, 3200, generator=torch.Generator().manual_seed(3))
    spectra = torch.fft.rfft(frame(samples, 640, 160) * hann(640, samples.device))
    torch.testing.assert_close(_synthesize(spectra, 640, 160, None), samples, atol=1e-5, rtol=0.0)


def test_features_made_in_inference_mode_serve_training_later() -> None:
    with torch.inference_mode():
        log_mel(torch.zeros(1, 768), 16_000, 384, 96, 7)
    samples = torch.randn(1, 768, requires_grad=True)
    log_mel(samples, 16_000, 384, 96, 7).sum().backward()
    assert samples.grad is not None


# Quantiser


def test_codes_are_the_nearest_of_each_level() -> None:
    chance = np.random.default_rng(4)
    quantizer = ResidualQuantizer(3, 17, 5)
    quantizer.codebooks.copy_(torch.from_numpy(chance.normal(size=(3, 17, 5))))
    latent = torch.from_numpy(chance.normal(size=(2, 40, 5))).float()
    codes = quantizer.encode(latent)
    books = quantizer.codebooks.double().numpy()
    for item in range(2):
        for time in range(40):
            residual = latent[item, time].double().numpy()
            for level in range(3):
                nearest = int(np.argmin(((books[level] - residual) ** 2).sum(axis=1)))
                assert codes[level, item, time] == nearest
                residual = residual - books[level][nearest]


def test_decoding_adds_up_the_levels_that_are_used() -> None:
    quantizer = make_model().quantizer
    codes = torch.randint(32, (4, 2, 6), generator=torch.Generator().manual_seed(5))
    vectors = torch.stack([quantizer.codebooks[level][codes[level]] for level in range(4)])
    torch.testing.assert_close(quantizer.decode(codes), vectors.sum(0))
    torch.testing.assert_close(quantizer.decode(codes[:2]), vectors[:2].sum(0))
    fewer = quantizer.decode(codes, used=torch.tensor([1, 3]))
    torch.testing.assert_close(fewer[0], vectors[:1, 0].sum(0))
    torch.testing.assert_close(fewer[1], vectors[:3, 1].sum(0))


def test_codebooks_start_at_the_clusters_and_levels_refine() -> None:
    chance = torch.Generator().manual_seed(6)
    centres = 5.0 * torch.randn(16, 8, generator=chance)
    latent = centres.repeat(60, 1) + 0.1 * torch.randn(960, 8, generator=chance)
    quantizer = ResidualQuantizer(3, 16, 8)
    quantizer.start(latent, frames_per_batch=96, seed=0)
    codes = quantizer.encode(latent[None])
    errors = [float((quantizer.decode(codes[: level + 1])[0] - latent).square().mean()) for level in range(3)]
    assert errors[0] < 0.2 * float(latent.square().mean())
    assert errors[1] < 0.1 * errors[0]  # two levels tell clusters apart that k-means lumped together
    assert errors[2] < errors[1]


def test_codebooks_follow_their_frames_and_dead_codes_move() -> None:
    chance = torch.Generator().manual_seed(7)
    centres = torch.tensor([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0]])
    quantizer = ResidualQuantizer(1, 4, 2)
    quantizer.codebooks[0, :3] = 0.8 * centres
    quantizer.codebooks[0, 3] = torch.tensor([100.0, 100.0])  # nearest to nothing
    quantizer.sizes.fill_(15.0)
    quantizer.sums.copy_(quantizer.codebooks * 15.0)
    for _ in range(1200):
        latent = centres.repeat(20, 1)[None] + 0.1 * torch.randn(1, 60, 2, generator=chance)
        quantizer(latent, torch.tensor([1]), chance)
    codes = quantizer.encode(centres[None])[0, 0]
    torch.testing.assert_close(quantizer.codebooks[0][codes], centres, atol=0.2, rtol=0.0)
    assert quantizer.codebooks.abs().max() < 4.0
    assert (quantizer.sizes > 0).all()


def test_quantised_latents_pass_the_gradient_straight_through() -> None:
    quantizer = make_model().quantizer
    before = quantizer.codebooks.clone()
    latent = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(8), requires_grad=True)
    quantized = quantizer(latent, torch.tensor([4, 1]), None)
    torch.testing.assert_close(quantized.latent, quantizer.decode(quantized.codes, torch.tensor([4, 1])))
    (gradient,) = torch.autograd.grad(quantized.latent.sum(), latent, retain_graph=True)
    torch.testing.assert_close(gradient, torch.ones_like(gradient))
    # One level's commitment pulls towards the sum of all codes up to it.
    sums = torch.stack([quantizer.decode(quantized.codes[: level + 1]) for level in range(4)])
    torch.testing.assert_close(quantized.commitment, (latent - sums).square().mean())
    torch.testing.assert_close(quantizer.codebooks, before)  # without chance nothing follows


def test_levels_are_drawn_evenly_for_half_of_the_items() -> None:
    drawn = draw_levels(40_000, 4, torch.Generator().manual_seed(9))
    shares = torch.bincount(drawn, minlength=5)[1:] / 40_000
    torch.testing.assert_close(shares, torch.tensor([0.125, 0.125, 0.125, 0.625]), atol=0.01, rtol=0.0)


def test_perplexity_counts_equally_frequent_codes() -> None:
    codes = torch.stack([torch.arange(100) % 8, torch.zeros(100, dtype=torch.int64)])
    assert perplexities(codes, 32) == pytest.approx([8.0, 1.0], rel=1e-2)


def test_whitening_by_the_batch_and_later_by_averages() -> None:
    whitening = Whitening(3)
    latent = 4.0 * torch.randn(5, 200, 3, generator=torch.Generator().manual_seed(10)) + 7.0
    for _ in range(600):
        white = whitening(latent)
    torch.testing.assert_close(white.mean((0, 1)), torch.zeros(3), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(white.var((0, 1)), torch.ones(3), atol=1e-2, rtol=0.0)
    torch.testing.assert_close(whitening.eval()(latent), white, atol=2e-2, rtol=0.0)


def test_the_covariance_penalty_sees_dimensions_that_say_the_same() -> None:
    white = Whitening(2)(torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(11)))
    assert covariance_penalty(white) < 0.01
    torch.testing.assert_close(covariance_penalty(white[..., [0, 0]]), torch.tensor(1.0), atol=1e-3, rtol=0.0)


# Network and codec


def test_the_default_codec_is_small() -> None:
    model = CodecModel(CodecSettings())
    assert sum(tensor.numel() for tensor in model.state_dict().values()) * 2 < 8_000_000
    assert CodecSettings().frame_rate_hz == 50.0


def test_describes_itself(codec: SpeechCodec) -> None:
    assert (codec.sample_rate_hz, codec.frame_rate_hz, codec.levels, codec.codebook_size) == (16_000, 50.0, 4, 32)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (319, 1), (320, 1), (321, 2), (16_000, 50), (16_001, 51)])
def test_lengths_are_exact(codec: SpeechCodec, make_waveform, samples: int, frames: int) -> None:
    codes = codec.encode(Waveform(make_waveform(1.1).samples[:samples], 16_000))
    assert codes.shape == (4, frames)
    assert codes.dtype == np.int64
    decoded = codec.decode(codes)
    assert decoded.samples.size == 320 * frames
    assert decoded.rate_hz == 16_000


def test_an_incomplete_last_frame_is_filled_with_silence(codec: SpeechCodec, make_waveform) -> None:
    waveform = make_waveform(0.33)
    filled = Waveform(np.pad(waveform.samples, (0, -waveform.samples.size % 320)), 16_000)
    np.testing.assert_array_equal(codec.encode(waveform), codec.encode(filled))


def test_a_batch_gives_what_single_calls_give(codec: SpeechCodec, make_waveform) -> None:
    waveforms = [make_waveform(seconds, seed) for seed, seconds in enumerate([0.31, 0.9, 0.01, 0.05, 0.4])]
    together = codec.encode_batch(waveforms)
    assert len(np.unique(together[1])) > 5
    for waveform, codes in zip(waveforms, together, strict=True):
        # Batched sums round differently, which may tip a rare tie between two codes.
        assert (codes == codec.encode(waveform)).mean() > 0.99
    for codes, decoded in zip(together, codec.decode_batch(together), strict=True):
        np.testing.assert_allclose(decoded.samples, codec.decode(codes).samples, atol=1e-5)


def test_what_follows_a_short_item_in_a_batch_does_not_reach_it() -> None:
    model = make_model()
    samples = torch.randn(2, 6400, generator=torch.Generator().manual_seed(12))
    samples[0, 3200:] = 0.0  # silence, as the codec fills up with
    mask = torch.arange(20) < torch.tensor([10, 20])[:, None]
    alone = model.encoder(samples[:1, :3200])
    torch.testing.assert_close(model.encoder(samples, mask)[:1, :10], alone, atol=1e-5, rtol=1e-5)
    latent = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(13))
    sound = model.decoder(latent, mask)
    torch.testing.assert_close(sound[:1, :3200], model.decoder(latent[:1, :10]), atol=1e-5, rtol=1e-5)


def one_hot(codes: Codes, size: int) -> NDArray[np.float32]:
    return np.eye(size, dtype=np.float32)[codes]


def test_probabilities_of_codes_are_decoded_as_their_mean(codec: SpeechCodec, make_waveform) -> None:
    codes = codec.encode(make_waveform(0.3))
    sure = codec.decode(codes).samples
    for known in range(4):
        soft = SoftCodes(codes, one_hot(codes[known:], codec.codebook_size))
        np.testing.assert_allclose(codec.decode_soft(soft).samples, sure, atol=1e-5)
    np.testing.assert_array_equal(codec.decode_soft(SoftCodes.certain(codes)).samples, sure)
    # Half of one code and half of another: the decoder reads the vector between theirs.
    other = codes.copy()
    other[3] = (other[3] + 1) % codec.codebook_size
    halves = (one_hot(codes[3:], codec.codebook_size) + one_hot(other[3:], codec.codebook_size)) / 2
    quantizer, decoder = codec._model.quantizer, codec._model.decoder
    with torch.inference_mode():
        vectors = [quantizer.decode(torch.from_numpy(one)[:, None]) for one in (codes, other)]
        expected = decoder((vectors[0] + vectors[1]) / 2)[0].numpy()
    np.testing.assert_allclose(codec.decode_soft(SoftCodes(codes, halves)).samples, expected, atol=1e-5)
    one = one_hot(codes, codec.codebook_size)
    for chances in (np.concatenate([one, one[:1]]), one[1:, :, 1:]):
        with pytest.raises(InputError, match="of no more of them the probabilities of"):
            codec.decode_soft(SoftCodes(codes, chances))


def test_fewer_levels_are_the_first_levels(codec: SpeechCodec, make_waveform) -> None:
    codes = codec.encode(make_waveform(0.3))
    fewer = SpeechCodec(make_model(), levels=2)
    np.testing.assert_array_equal(fewer.encode(make_waveform(0.3)), codes[:2])
    np.testing.assert_array_equal(fewer.decode(codes[:2]).samples, codec.decode(codes[:2]).samples)
    assert not np.allclose(codec.decode(codes[:2]).samples, codec.decode(codes).samples)
    assert fewer.identity == f"{codec.identity}@2"
    with pytest.raises(InputError, match="1 to 4 levels, not 5"):
        SpeechCodec(make_model(), levels=5)


def test_resamples_and_takes_silence(codec: SpeechCodec, make_waveform) -> None:
    assert codec.encode(make_waveform(1.0, rate_hz=44_100)).shape == (4, 50)
    assert np.isfinite(codec.decode(codec.encode(Waveform(np.zeros(900, dtype=np.float32), 16_000))).samples).all()


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((5, 5), dtype=np.int64),
        np.zeros((4, 0), dtype=np.int64),
        np.zeros(4, dtype=np.int64),
        np.zeros((4, 5)),
        np.full((4, 5), 32),
        np.full((4, 5), -1),
    ],
)
def test_wrong_codes_are_refused(codec: SpeechCodec, codes: np.ndarray) -> None:
    with pytest.raises(InputError, match="codes"):
        codec.decode(codes)


# Storage


def test_a_stored_codec_gives_the_same_codes_and_sound(codec: SpeechCodec, make_waveform, tmp_path: Path) -> None:
    write_codec(tmp_path / "codec", make_model())
    for again in (load_speech_codec(tmp_path / "codec"), load_codec(str(tmp_path / "codec"))):
        codes = again.encode(make_waveform(0.7))
        np.testing.assert_array_equal(codes, codec.encode(make_waveform(0.7)))
        np.testing.assert_array_equal(again.decode(codes).samples, codec.decode(codes).samples)
        assert again.identity == codec.identity
    stored = load_file(tmp_path / "codec" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_a_name_may_ask_for_the_first_levels_only(make_waveform, tmp_path: Path) -> None:
    write_codec(tmp_path / "codec", make_model())
    whole, part = load_codec(str(tmp_path / "codec")), load_codec(f"{tmp_path / 'codec'}@2")
    assert (whole.levels, part.levels) == (4, 2)
    assert part.identity != whole.identity
    np.testing.assert_array_equal(part.encode(make_waveform(0.4)), whole.encode(make_waveform(0.4))[:2])
    with pytest.raises(InputError, match="neither"):
        load_codec(f"{tmp_path / 'other'}@2")


def test_the_identity_is_that_of_the_codes() -> None:
    model = make_model()
    identity = identify_codes(model)
    with torch.no_grad():
        model.decoder.end.bias.add_(1.0)
    assert identify_codes(model) == identity
    assert identify_codes(make_model(replace(TINY, decoder_width=32))) != identity  # other random weights
    for name, tensor in model.named_parameters():
        if name == "encoder.end.bias":
            with torch.no_grad():
                tensor.add_(0.5)
            assert identify_codes(model) != identity
            with torch.no_grad():
                tensor.sub_(0.5)
    model.quantizer.codebooks[2, 3, 4] += 1.0
    assert identify_codes(model) != identity


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    def refuse(match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            load_speech_codec(tmp_path)
        assert "\n" not in str(caught.value)

    refuse("codec.json")
    write_codec(tmp_path, make_model())
    path = tmp_path / "codec.json"
    good = path.read_text()
    weights = (tmp_path / "model.safetensors").read_bytes()
    description = json.loads(good)
    for wrong in ("{", "[]", json.dumps({**description, "format": "other"}), json.dumps({**description, "codec": 3})):
        path.write_text(wrong)
        refuse("codec.json")
    for changed in ({"levels": 4.0}, {"levels": "4"}, {"levels": True}, {"hop": 0}, {"depth": 3}):
        path.write_text(json.dumps({**description, "codec": {**asdict(TINY), **changed}}))
        refuse("codec")
    path.write_text(json.dumps({**description, "codec": asdict(replace(TINY, encoder_width=20))}))
    refuse("not the weights")
    path.write_text(good)
    (tmp_path / "model.safetensors").write_bytes(weights[:1000])
    refuse("safetensors")
    write_codec(tmp_path, make_model(seed=1))
    path.write_text(good)
    refuse("different codecs")


@pytest.mark.parametrize("wrong", [{"window": 650}, {"window": 160}, {"hop": 0}, {"levels": -1}])
def test_wrong_shapes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="codec: "):
        replace(TINY, **wrong)


def test_a_device_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    write_codec(tmp_path / "codec", make_model())
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        load_speech_codec(tmp_path / "codec", device="abacus")
