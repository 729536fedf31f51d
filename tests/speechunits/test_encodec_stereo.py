"""EnCodec 48 kHz: encodec's own codes and sound, chunk by chunk, with the loudness among the codes; codecs by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform
from speechunits.codecs.encodec_48khz import Encodec48khz, load_encodec_48khz, quantise_scale, restore_scale
from speechunits.codecs.load import load_codec
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio


def save_random_weights(path: Path, kind: str) -> Path:
    import_torchaudio()
    from encodec import EncodecModel

    torch.manual_seed(4)
    model = getattr(EncodecModel, f"encodec_model_{kind}")(pretrained=False)
    for layer in model.quantizer.vq.layers:  # a fresh model leaves its codebooks at zero
        layer._codebook.embed.copy_(0.05 * torch.randn_like(layer._codebook.embed))
        layer._codebook.inited.fill_(True)
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_weights(tmp_path_factory.mktemp("encodec") / "encodec_48khz.th", "48khz")


@pytest.fixture(scope="module")
def codec(weights: Path) -> Encodec48khz:
    return load_encodec_48khz(weights)


@pytest.fixture(scope="module")
def original(weights: Path):
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_48khz(pretrained=False)
    model.load_state_dict(torch.load(weights))
    model.set_target_bandwidth(6.0)
    return model.eval()


def test_describes_itself(codec: Encodec48khz) -> None:
    assert (codec.sample_rate_hz, codec.levels, codec.codebook_size) == (48_000, 4, 1024)
    assert codec.frame_rate_hz == pytest.approx(151 / 0.99)
    assert codec.identity.startswith("encodec-48khz sha256:")
    assert codec.identity.endswith(" levels 4")


# One chunk, two, three, the last of 490 samples; lengths that are and are not whole frames.
@pytest.mark.parametrize("samples", [10, 5_000, 47_520, 48_000, 2 * 47_520 + 480 + 10])
def test_equals_encodec(codec: Encodec48khz, original, make_waveform, samples: int) -> None:
    sound = make_waveform(samples / 48_000, rate_hz=48_000).samples
    sound *= np.linspace(0.02, 1.0, sound.size, dtype=np.float32)  # so that no two chunks are equally loud
    waveform = Waveform(sound, 48_000)
    codes = codec.encode(waveform)
    with torch.inference_mode():
        chunks = original.encode(torch.from_numpy(waveform.samples).expand(1, 2, -1))
        scales = [torch.tensor(restore_scale(codes[:1, 151 * place])).float() for place in range(len(chunks))]
        decoded = original.decode(chunks)[0].mean(dim=0).numpy()
        rounded = original.decode([(chunk, scale[:, None]) for (chunk, _), scale in zip(chunks, scales, strict=True)])
    expected = np.concatenate([np.pad(chunk[0].numpy(), ((0, 0), (1, 0))) for chunk, _ in chunks], axis=1)
    frames = np.arange(codes.shape[1]) % 151 != 0
    assert codes.shape == expected.shape
    np.testing.assert_array_equal(codes[:, frames], expected[:, frames])
    for (_, exact), scale in zip(chunks, scales, strict=True):
        assert scale.item() == pytest.approx(exact.item(), rel=0.006)
    again = codec.decode(codes).samples
    np.testing.assert_allclose(again, rounded[0].mean(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(again, decoded, atol=0.006 * np.abs(decoded).max())
    assert samples <= again.size < samples + 320


def test_chunks_before_the_last_are_full(codec: Encodec48khz, original, make_waveform) -> None:
    waveform = make_waveform(47_600 / 48_000, rate_hz=48_000)  # encodec cuts it into 47,600 and 80 samples
    codes = codec.encode(waveform)
    filled = Waveform(np.pad(waveform.samples, (0, 400)), 48_000)
    np.testing.assert_array_equal(codes, codec.encode(filled))
    assert codes.shape == (4, 151 + 1 + 2)


@pytest.mark.parametrize(("bandwidth", "levels"), [(3, 2), (12, 8), (24, 16)])
def test_bandwidth_sets_the_levels(weights: Path, make_waveform, bandwidth: float, levels: int) -> None:
    codec = load_encodec_48khz(weights, bandwidth_kbps=bandwidth)
    assert codec.encode(make_waveform(0.2, rate_hz=48_000)).shape == (levels, 31)


def test_a_batch_gives_what_single_calls_give(codec: Encodec48khz, make_waveform) -> None:
    waveforms = [make_waveform(seconds, seed, rate_hz=48_000) for seed, seconds in enumerate([1.1, 0.1, 0.3, 1.1])]
    together = codec.encode_batch(waveforms)
    for waveform, codes in zip(waveforms, together, strict=True):
        # Batched sums round differently, which may tip a rare tie between two codes.
        assert (codes == codec.encode(waveform)).mean() > 0.99
    for codes, decoded in zip(together, codec.decode_batch(together), strict=True):
        np.testing.assert_allclose(decoded.samples, codec.decode(codes).samples, atol=1e-5)


def test_the_first_levels_are_enough(weights: Path, codec: Encodec48khz, make_waveform) -> None:
    codes = codec.encode(make_waveform(0.3, rate_hz=48_000))
    low = load_encodec_48khz(weights, bandwidth_kbps=3)
    np.testing.assert_array_equal(low.encode(make_waveform(0.3, rate_hz=48_000)), codes[:2])
    np.testing.assert_allclose(codec.decode(codes[:2]).samples, low.decode(codes[:2]).samples, atol=1e-6)


def test_any_codes_of_a_language_model_can_be_decoded(codec: Encodec48khz) -> None:
    codes = np.random.default_rng(0).integers(0, 1024, (4, 154))
    assert codec.decode(codes).samples.size == 47_520 + 2 * 320
    # Up to one frame of a second chunk lies under the end of the first, where encodec's own decoding fails.
    first = codec.decode(codes[:, :151]).samples
    for frames in (152, 153):
        np.testing.assert_array_equal(codec.decode(codes[:, :frames]).samples, first)
    assert codec.decode(codes[:, :2]).samples.size == 320
    with pytest.raises(InputError, match="at least two frames"):
        codec.decode(codes[:, :1])
    with pytest.raises(InputError, match="codes lie in 0 to 1023"):
        codec.decode(codes + 1_000)


def test_loudness_as_a_code() -> None:
    scales = 10 ** np.random.default_rng(0).uniform(-4.7, 0.3, 500)  # -94 dB to 6 dB
    np.testing.assert_allclose(restore_scale(quantise_scale(scales)), scales, rtol=0.006)
    np.testing.assert_array_equal(quantise_scale(restore_scale(np.arange(1024))), np.arange(1024))
    np.testing.assert_array_equal(quantise_scale(np.array([0.0, 1e-8, 1e-6, 50.0])), [0, 0, 0, 1023])


def test_silence_stays_silent(codec: Encodec48khz) -> None:
    silence = Waveform(np.zeros(60_000, dtype=np.float32), 48_000)
    assert np.abs(codec.decode(codec.encode(silence)).samples).max() < 1e-6


def test_codecs_by_name(weights: Path, codec: Encodec48khz, tmp_path: Path) -> None:
    low = save_random_weights(tmp_path / "24.th", "24khz")
    assert load_codec(f"encodec-48khz:{weights}").identity == codec.identity
    assert load_codec(f"encodec-48khz@24:{weights}").levels == 16
    assert (load_codec(f"encodec-24khz:{low}").levels, load_codec(f"encodec-24khz@1.5:{low}").levels) == (8, 2)
    assert len({load_codec(f"encodec-24khz{bandwidth}:{low}").identity for bandwidth in ("", "@6", "@3")}) == 2
    for where, reason in [
        ("encodec-32khz", "neither encodec-24khz"),
        ("absent", "neither encodec-24khz"),
        ("encodec-24khz@1.2.3", "not a number"),
        ("encodec-48khz@1.5", "no bandwidth of 1.5 kbps"),
        (f"encodec-48khz:{low}", "not the weights of EnCodec 48khz"),
        (f"encodec-24khz:{tmp_path / 'absent.th'}", "no such file"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            load_codec(where)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="device 'abacus'"):
        load_codec(f"encodec-24khz:{low}", device="abacus")


def test_published_weights_are_fetched_without_unpickling(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    asked = {}

    def fetch(url: str, **options):
        asked.update(options, url=url)
        return torch.load(weights)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    assert load_codec("encodec-48khz@3").levels == 2
    assert asked["url"] == "https://dl.fbaipublicfiles.com/encodec/v0/encodec_48khz-7e698e3e.th"
    assert (asked["weights_only"], asked["check_hash"]) == (True, True)
