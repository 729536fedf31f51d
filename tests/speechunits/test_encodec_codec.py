"""EnCodec 24 kHz: encodec's own codes and sound, batches that change nothing, weights from a file."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from speechunits.audio import Waveform
from speechunits.codecs.encodec_24khz import Encodec24khz, load_encodec_24khz
from speechunits.codecs.protocol import SoftCodes
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published layout; codebooks too, which a fresh model leaves at zero."""
    import_torchaudio()
    from encodec import EncodecModel

    torch.manual_seed(3)
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.copy_(0.05 * torch.randn_like(layer._codebook.embed))
        layer._codebook.inited.fill_(True)
    path = tmp_path_factory.mktemp("encodec") / "encodec.th"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def codec(weights: Path) -> Encodec24khz:
    return load_encodec_24khz(weights)


@pytest.fixture(scope="module")
def original(weights: Path):
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.load_state_dict(torch.load(weights))
    model.set_target_bandwidth(6.0)
    return model.eval()


def test_describes_itself(codec: Encodec24khz) -> None:
    assert (codec.sample_rate_hz, codec.frame_rate_hz, codec.levels, codec.codebook_size) == (24_000, 75.0, 8, 1024)


@pytest.mark.parametrize(("bandwidth", "levels"), [(1.5, 2), (3, 4), (12, 16), (24, 32)])
def test_bandwidth_sets_the_levels(weights: Path, make_waveform, bandwidth: float, levels: int) -> None:
    codec = load_encodec_24khz(weights, bandwidth_kbps=bandwidth)
    assert codec.levels == levels
    assert codec.encode(make_waveform(0.2, rate_hz=24_000)).shape == (levels, 15)


def test_equals_encodec_on_whole_frames(codec: Encodec24khz, original, make_waveform) -> None:
    waveform = make_waveform(0.8, rate_hz=24_000)
    codes = codec.encode(waveform)
    with torch.inference_mode():
        [(expected, _)] = original.encode(torch.from_numpy(waveform.samples)[None, None])
        sound = original.decode([(expected, None)])[0, 0]
    np.testing.assert_array_equal(codes, expected[0].numpy())
    assert len(np.unique(codes)) > 20
    np.testing.assert_allclose(codec.decode(codes).samples, sound.numpy(), atol=1e-6)


def test_an_incomplete_last_frame_is_filled_with_silence(codec: Encodec24khz, make_waveform) -> None:
    waveform = make_waveform(0.5, rate_hz=24_000)  # 37.5 frames
    filled = Waveform(np.concatenate((waveform.samples, np.zeros(160, dtype=np.float32))), 24_000)
    np.testing.assert_array_equal(codec.encode(waveform), codec.encode(filled))
    assert codec.decode(codec.encode(waveform)).samples.size == 38 * 320


def test_fewer_levels_are_the_first_levels(weights: Path, codec: Encodec24khz, make_waveform) -> None:
    low = load_encodec_24khz(weights, bandwidth_kbps=3.0)
    codes = codec.encode(make_waveform(0.3, rate_hz=24_000))
    np.testing.assert_array_equal(low.encode(make_waveform(0.3, rate_hz=24_000)), codes[:4])
    np.testing.assert_allclose(codec.decode(codes[:4]).samples, low.decode(codes[:4]).samples, atol=1e-6)


def test_probabilities_of_codes_are_decoded_as_their_mean(codec: Encodec24khz, make_waveform) -> None:
    codes = codec.encode(make_waveform(0.3, rate_hz=24_000))
    for known in (2, 0):
        sure = SoftCodes(codes, np.eye(codec.codebook_size, dtype=np.float32)[codes[known:]])
        np.testing.assert_allclose(codec.decode_soft(sure).samples, codec.decode(codes).samples, atol=1e-5)
    nothing = SoftCodes(codes, np.zeros((6, codes.shape[1], codec.codebook_size), np.float32))
    np.testing.assert_allclose(codec.decode_soft(nothing).samples, codec.decode(codes[:2]).samples, atol=1e-5)
    with pytest.raises(InputError, match="of no more of them the probabilities of"):
        codec.decode_soft(SoftCodes(codes, np.zeros((9, codes.shape[1], codec.codebook_size), np.float32)))


def test_a_batch_gives_what_single_calls_give(codec: Encodec24khz, make_waveform) -> None:
    lengths_s = [0.31, 0.9, 0.01, 0.05, 0.4]  # 0.01 and 0.05 s are below the seven frames that the padding needs
    waveforms = [make_waveform(seconds, seed, rate_hz=24_000) for seed, seconds in enumerate(lengths_s)]
    together = codec.encode_batch(waveforms)
    assert [codes.shape for codes in together] == [(8, 24), (8, 68), (8, 1), (8, 4), (8, 30)]
    for waveform, codes in zip(waveforms, together, strict=True):
        # Batched sums round differently, which may tip a rare tie between two codes.
        assert (codes == codec.encode(waveform)).mean() > 0.99
    for codes, decoded in zip(together, codec.decode_batch(together), strict=True):
        np.testing.assert_allclose(decoded.samples, codec.decode(codes).samples, atol=1e-5)


def test_resamples_and_takes_silence(codec: Encodec24khz, make_waveform) -> None:
    assert codec.encode(make_waveform(1.0, rate_hz=44_100)).shape == (8, 75)
    silent = codec.decode(codec.encode(Waveform(np.zeros(1_200, dtype=np.float32), 24_000)))
    assert np.isfinite(silent.samples).all()


def test_reads_safetensors(weights: Path, codec: Encodec24khz, make_waveform, tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in torch.load(weights).items()}, tmp_path / "e.safetensors")
    waveform = make_waveform(0.2, rate_hz=24_000)
    again = load_encodec_24khz(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.encode(waveform), codec.encode(waveform))


def test_wrong_weights_and_bandwidths_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.th").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.th")
    for name in ("absent.th", "absent.safetensors", "text.th", "text.safetensors", "other.th"):
        with pytest.raises(InputError, match=name) as caught:
            load_encodec_24khz(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no bandwidth of 7 kbps; it has 1\.5, 3, 6, 12, 24"):
        load_encodec_24khz(weights, bandwidth_kbps=7)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((9, 5), dtype=np.int64),
        np.zeros((8, 0), dtype=np.int64),
        np.zeros(8, dtype=np.int64),
        np.zeros((8, 5)),
        np.full((8, 5), 1024),
        np.full((8, 5), -1),
    ],
)
def test_wrong_codes_are_refused(codec: Encodec24khz, codes: np.ndarray) -> None:
    with pytest.raises(InputError, match="codes"):
        codec.decode(codes)


def test_published_weights_are_fetched_without_unpickling(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    asked = {}

    def fetch(url: str, **options):
        asked.update(options, url=url)
        return torch.load(weights)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    assert load_encodec_24khz().levels == 8
    assert asked["url"] == "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th"
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True


@pytest.mark.parametrize("problem", [URLError("no route to host"), RuntimeError("invalid hash value")])
def test_published_weights_that_cannot_be_fetched_are_one_line(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def fetch(url: str, **_: object):
        raise problem

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(InputError, match=r"th cannot be fetched \(.*\); give a file: encodec-24khz:FILE"):
        load_encodec_24khz()


def test_torchaudio_resamples_however_it_was_imported() -> None:
    torchaudio = import_torchaudio()
    assert import_torchaudio() is torchaudio
    assert torchaudio.transforms.Resample(48_000, 24_000)(torch.zeros(1, 480)).shape == (1, 240)
