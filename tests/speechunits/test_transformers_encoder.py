"""HuBERT, wav2vec2 and WavLM through transformers: its own hidden states, batches that change nothing, plain data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform, read_audio
from speechunits.encoders.load import load_encoder
from speechunits.encoders.transformers_model import load_transformers_model
from speechunits.errors import InputError
from speechunits.kmeans import KMeans, Provenance
from speechunits.torchaudio_import import import_torchaudio

import_torchaudio()  # which transformers imports as well
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor  # noqa: E402

KINDS = ("hubert", "wav2vec2", "wavlm")
# The two families of published models: base counts norms over time, large over channels and before each layer.
BASE = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}


def save_model(folder: Path, kind: str, *, normalize: bool = False, safe: bool = True, **options) -> Path:
    """Save a small random model with the frame geometry of the published ones."""
    config = AutoConfig.for_model(
        kind,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **options,
    )
    torch.manual_seed(5)
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():  # fresh biases and norms are 0 and 1, which would hide a mix-up
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=normalize).save_pretrained(folder)
    return folder


def hidden_state(folder: Path, waveform: Waveform, layer: int) -> np.ndarray:
    """What transformers says by itself for one waveform."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = extractor(waveform.samples, sampling_rate=16_000, return_tensors="pt")
        return model(inputs["input_values"], output_hidden_states=True).hidden_states[layer][0].numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("options", "normalize"), [(BASE, False), (BASE, True), (LARGE, True)])
def test_batches_equal_transformers_one_by_one(tmp_path: Path, make_waveform, kind: str, options, normalize) -> None:
    folder = save_model(tmp_path / kind, kind, normalize=normalize, **options)
    waveforms = [make_waveform(seconds, seed) for seed, seconds in enumerate([0.31, 0.9, 0.05, 0.33, 0.0251])]
    for layer in (1, 3):
        together = load_encoder(str(folder), layer).encode(waveforms)
        assert [len(features) for features in together] == [15, 44, 2, 16, 1]
        for waveform, features in zip(waveforms, together, strict=True):
            assert features.dtype == np.float32
            np.testing.assert_allclose(features, hidden_state(folder, waveform, layer), atol=1e-4, rtol=0)


def test_padding_would_have_changed_the_result(tmp_path: Path, make_waveform) -> None:
    """Group norm counts padding: what transformers' own padded batch gives for the shorter of two is far off."""
    folder = save_model(tmp_path / "hubert", "hubert", **BASE)
    short, long = make_waveform(0.4, 0), make_waveform(1.0, 1)
    model = AutoModel.from_pretrained(folder).eval()
    padded = np.stack((np.pad(short.samples, (0, 9_600)), long.samples))
    with torch.inference_mode():
        theirs = model(torch.from_numpy(padded), output_hidden_states=True).hidden_states[2][0, :19].numpy()
    ours = load_encoder(str(folder), 2).encode([short, long])[0]
    assert np.abs(theirs - ours).max() > 1e-2
    np.testing.assert_allclose(ours, hidden_state(folder, short, 2), atol=1e-4, rtol=0)


def test_a_batch_norm_before_positions_runs_one_by_one(tmp_path: Path, make_waveform) -> None:
    folder = save_model(tmp_path / "hubert", "hubert", conv_pos_batch_norm=True, **BASE)
    waveforms = [make_waveform(0.4, 0), make_waveform(1.0, 1)]
    for waveform, features in zip(waveforms, load_encoder(str(folder), 2).encode(waveforms), strict=True):
        np.testing.assert_allclose(features, hidden_state(folder, waveform, 2), atol=1e-4, rtol=0)


def test_describes_itself(tmp_path: Path, golden_utterance) -> None:
    folder = save_model(tmp_path / "hubert", "hubert", **BASE)
    encoder = load_encoder(str(folder), 2)
    assert (encoder.sample_rate_hz, encoder.frame_rate_hz, encoder.dimension) == (16_000, 50.0, 32)
    assert encoder.shortest_samples == 400
    # 596 stands in fairseq's own sample.base.L9.len.
    assert encoder.encode([read_audio(golden_utterance.audio)])[0].shape == (596, 32)
    with pytest.raises(InputError, match="shorter than one frame"):
        encoder.encode([Waveform(np.zeros(399, dtype=np.float32), 16_000)])


def test_identity_names_weights_settings_and_layer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save_model(tmp_path / "one", "hubert", **BASE)
    capfd.readouterr()
    identity = load_encoder(str(folder), 2).identity
    assert capfd.readouterr() == ("", "")
    assert identity.startswith("hubert sha256:")
    again = tmp_path / "again"
    AutoModel.from_pretrained(folder).save_pretrained(again)
    shutil.copy(folder / "preprocessor_config.json", again)
    assert load_encoder(str(again), 2).identity == identity
    assert load_encoder(str(folder), 1).identity != identity
    settings = json.loads((again / "preprocessor_config.json").read_text())
    (again / "preprocessor_config.json").write_text(json.dumps({**settings, "do_normalize": True}))
    assert load_encoder(str(again), 2).identity != identity


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "executed"))


def test_torch_weights_are_read_as_data_only(tmp_path: Path, make_waveform) -> None:
    safe = save_model(tmp_path / "safe", "hubert", **BASE)
    plain = save_model(tmp_path / "plain", "hubert", safe=False, **BASE)
    [features] = load_encoder(str(plain), 2).encode([make_waveform(0.3)])
    np.testing.assert_array_equal(features, load_encoder(str(safe), 2).encode([make_waveform(0.3)])[0])
    state = torch.load(plain / "pytorch_model.bin")
    torch.save({**state, "trap": Trap(tmp_path / "executed")}, plain / "pytorch_model.bin")
    with pytest.raises(InputError, match="plain: not a model"):
        load_encoder(str(plain), 2)
    assert not (tmp_path / "executed").exists()


def test_what_is_missing_is_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path / "hubert", "hubert", **BASE)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.k_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 tensors, encoder\.layers\.1\.attention\.k_proj\.weight for one"):
        load_encoder(str(folder), 1)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="not a model of transformers"):
        load_encoder(str(folder), 1)


def test_other_models_and_names_are_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "hubert", "hubert", **BASE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").touch()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for where, reason in [
        (tmp_path / "empty", "not a model of transformers"),
        (tmp_path / "file.bin", "neither"),
        (tmp_path / "absent", "neither"),
        ("absent", "neither"),
        (tmp_path / "bert", "a model of type 'bert', not hubert, wav2vec2, wavlm"),
        (tmp_path / "absent.pt", "no such file"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            load_encoder(str(where), 1)
        assert "\n" not in str(caught.value)
    for layer in (0, 4):
        with pytest.raises(InputError, match=f"layer {layer} is not one of its layers 1 to 3"):
            load_encoder(str(folder), layer)
    with pytest.raises(InputError, match="device 'abacus'"):
        load_encoder(str(folder), 1, device="abacus")


def test_a_name_on_the_hub_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="nobody/nothing: not a model of transformers") as caught:
        load_transformers_model("nobody/nothing", 1)
    assert "\n" not in str(caught.value)


def test_fairseq_checkpoints_have_the_same_loader(save_tiny_hubert, make_waveform) -> None:
    encoder = load_encoder(str(save_tiny_hubert().path), 2)
    assert encoder.identity.startswith("fairseq-hubert")
    units = KMeans(np.eye(2, 32, dtype=np.float32), Provenance("", 0.0, 0, 0, "test"))
    assert units.assign(encoder.encode([make_waveform(0.2)])[0]).shape == (9,)


def test_other_encoders_have_the_same_loader(tmp_path: Path, make_waveform) -> None:
    encoder = load_encoder("mfcc", 1)
    assert encoder.encode([make_waveform(0.2)])[0].shape == (9, encoder.dimension)
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"model\.bin"):  # read as a Whisper's
        load_encoder(str(tmp_path), 1)
