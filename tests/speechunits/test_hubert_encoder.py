"""HuBERT from fairseq checkpoints: fairseq's own features, no code from the file, batches that change nothing."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform, read_audio, resample
from speechunits.batching import batches_by_length
from speechunits.encoders.fairseq_checkpoint import ConvLayer, parse_conv_layers
from speechunits.encoders.hubert import hop, load_fairseq_hubert, receptive_field
from speechunits.errors import InputError


@pytest.fixture(scope="module")
def tiny(save_tiny_hubert):
    return save_tiny_hubert()


def fairseq_features(model, waveform: Waveform, layer: int) -> np.ndarray:
    with torch.inference_mode():
        source = torch.from_numpy(waveform.samples)[None]
        return model.extract_features(source, mask=False, output_layer=layer)[0][0].numpy()


@pytest.mark.parametrize("layout", ["cfg", "args"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_equals_fairseq(save_tiny_hubert, make_waveform, layout: str, layer: int) -> None:
    tiny = save_tiny_hubert(layout)
    waveform = make_waveform(1.03)
    [features] = load_fairseq_hubert(tiny.path, layer).encode([waveform])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, fairseq_features(tiny.model, waveform, layer), atol=1e-5, rtol=0)


def test_equals_fairseq_in_the_large_variant(save_tiny_hubert, make_waveform) -> None:
    """HuBERT-large: layer norm in the convolutions and before each layer, waveforms normalised."""
    tiny = save_tiny_hubert(normalize=True, extractor_mode="layer_norm", layer_norm_first=True)
    waveform = make_waveform(0.8)
    normal = torch.nn.functional.layer_norm(torch.from_numpy(waveform.samples), waveform.samples.shape)
    expected = fairseq_features(tiny.model, Waveform(normal.numpy(), 16_000), 2)
    [features] = load_fairseq_hubert(tiny.path, 2).encode([waveform])
    np.testing.assert_allclose(features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch_frames", [10, 120, 6_000])
def test_a_batch_gives_what_single_calls_give(tiny, make_waveform, batch_frames: int) -> None:
    encoder = load_fairseq_hubert(tiny.path, 3, batch_frames=batch_frames)
    waveforms = [make_waveform(seconds, seed) for seed, seconds in enumerate([0.31, 1.7, 0.05, 0.9, 0.33, 1.2])]
    together = encoder.encode(waveforms)
    assert [len(features) for features in together] == [15, 84, 2, 44, 16, 59]
    for waveform, features in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(features, encoder.encode([waveform])[0], atol=1e-4, rtol=0)


def test_frames_match_the_golden_utterance(tiny, golden_utterance) -> None:
    encoder = load_fairseq_hubert(tiny.path, 1)
    assert (encoder.sample_rate_hz, encoder.frame_rate_hz, encoder.dimension) == (16_000, 50.0, 32)
    assert encoder.shortest_samples == 400
    [features] = encoder.encode([read_audio(golden_utterance.audio)])
    assert features.shape == (596, 32)  # 596 stands in fairseq's own sample.base.L9.len


def test_resamples(tiny, make_waveform) -> None:
    encoder = load_fairseq_hubert(tiny.path, 2)
    waveform = make_waveform(0.6, rate_hz=44_100)
    expected = encoder.encode([resample(waveform, 16_000)])[0]
    np.testing.assert_array_equal(encoder.encode([waveform])[0], expected)


def test_long_audio_is_cut_as_fairseq_cuts_it(tiny, make_waveform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechunits.encoders.batched.LONGEST_PIECE_S", 0.5)
    waveform = make_waveform(1.01)  # 8000 + 8000 + 160 samples: the last piece is below one frame
    [features] = load_fairseq_hubert(tiny.path, 2).encode([waveform])
    pieces = [Waveform(waveform.samples[start : start + 8_000], 16_000) for start in (0, 8_000)]
    expected = np.concatenate([fairseq_features(tiny.model, piece, 2) for piece in pieces])
    np.testing.assert_allclose(features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("normalize", [False, True])
def test_silence_has_finite_features(save_tiny_hubert, normalize: bool) -> None:
    encoder = load_fairseq_hubert(save_tiny_hubert(normalize=normalize).path, 2)
    [features] = encoder.encode([Waveform(np.zeros(1_600, dtype=np.float32), 16_000)])
    assert np.isfinite(features).all()


def test_too_short_for_a_frame(tiny, make_waveform) -> None:
    encoder = load_fairseq_hubert(tiny.path, 2)
    assert encoder.encode([]) == []
    assert encoder.encode([make_waveform(0.025)])[0].shape == (1, 32)
    with pytest.raises(InputError, match=r"0\.0244 s is shorter than one frame \(0\.0250 s\)"):
        encoder.encode([make_waveform(1.0), make_waveform(0.0244)])


def test_identity_names_weights_and_layer(save_tiny_hubert, tiny, tmp_path: Path) -> None:
    renamed = tmp_path / "other_name.pt"
    renamed.write_bytes(tiny.path.read_bytes())
    identity = load_fairseq_hubert(tiny.path, 2).identity
    assert load_fairseq_hubert(renamed, 2).identity == identity
    assert load_fairseq_hubert(tiny.path, 3).identity != identity
    assert load_fairseq_hubert(save_tiny_hubert("args").path, 2).identity != identity


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "executed"))


def rewrite(source: Path, target: Path, change: Callable[[dict], None]) -> Path:
    state = torch.load(source, weights_only=False)
    change(state)
    torch.save(state, target)
    return target


def test_a_checkpoint_executes_nothing(tiny, tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    trap = rewrite(tiny.path, tmp_path / "trap.pt", lambda state: state.update(extra_state=Trap(executed)))
    with pytest.raises(InputError, match=r"trap\.pt: refused: Unsupported global") as caught:
        load_fairseq_hubert(trap, 1)
    assert "\n" not in str(caught.value)
    assert not executed.exists()
    # The trap works when the file is loaded as fairseq loads it.
    torch.load(trap, weights_only=False)
    assert executed.exists()


def test_convolution_options_are_never_evaluated(tiny, tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    code = f"[(16,10,5)] + [open({str(executed)!r}, 'w') and (16,3,2)]"
    bad = rewrite(tiny.path, tmp_path / "bad.pt", lambda state: state["cfg"]["model"].update(conv_feature_layers=code))
    with pytest.raises(InputError, match="conv_feature_layers"):
        load_fairseq_hubert(bad, 1)
    assert not executed.exists()


def test_convolution_notation() -> None:
    layers = parse_conv_layers("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2")
    assert layers == (ConvLayer(512, 10, 5), *[ConvLayer(512, 3, 2)] * 4, *[ConvLayer(512, 2, 2)] * 2)
    assert (receptive_field(layers), hop(layers)) == (400, 320)
    for wrong in (
        "",
        "[(512, 10)]",
        "[(512, 10, -5)]",
        "[(1, 2, 3)] * 9999999999",
        "[]",
        "f()",
        "[(1,2,True)]",
        "(" * 999,
    ):
        with pytest.raises(InputError, match="conv_feature_layers"):
            parse_conv_layers(wrong)


def test_other_files_are_refused(tiny, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"model": 1}))
    torch.save({"weights": torch.zeros(2)}, tmp_path / "bare.pt")
    torch.save({"model": {}, "cfg": None}, tmp_path / "options.pt")
    rewrite(tiny.path, tmp_path / "tuned.pt", lambda state: state["cfg"]["model"].update(_name="hubert_ctc"))
    rewrite(tiny.path, tmp_path / "wide.pt", lambda state: state["cfg"]["model"].update(encoder_embed_dim=64))
    rewrite(tiny.path, tmp_path / "lost.pt", lambda state: state["model"].pop("mask_emb"))
    reasons = {
        "absent": "no such file",
        "text": "refused|not a torch checkpoint",
        "pickle": "refused|not a torch checkpoint|mapping of tensors|neither",
        "bare": "no 'model'",
        "options": "neither 'cfg' nor 'args'",
        "tuned": "'hubert_ctc'",
        "wide": "do not make a HuBERT",
        "lost": "do not make a HuBERT",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=rf"{name}\.pt: .*({reason})") as caught:
            load_fairseq_hubert(tmp_path / f"{name}.pt", 1)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        load_fairseq_hubert(tiny.path, 1, device="abacus")
    for layer in (0, 4):
        with pytest.raises(InputError, match=f"layer {layer} is not one of its layers 1 to 3"):
            load_fairseq_hubert(tiny.path, layer)


def test_batches_hold_everything_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 200).tolist()
    batches = list(batches_by_length(lengths, 300))
    assert sorted(position for batch in batches for position in batch) == list(range(200))
    assert all(len(batch) * max(lengths[position] for position in batch) <= 300 for batch in batches)
    assert list(batches_by_length([500, 2], 300)) == [[0], [1]]


def test_loading_leaves_logging_alone(tiny) -> None:
    """fairseq sets up the root logger on import; a program that loads an encoder keeps its own."""
    code = (
        "import logging, pathlib, sys\n"
        "from speechunits.encoders.hubert import load_fairseq_hubert\n"
        "load_fairseq_hubert(pathlib.Path(sys.argv[1]), 1)\n"
        "assert 'fairseq' in sys.modules\n"
        "print(logging.getLogger().handlers, logging.getLogger().level == logging.WARNING)"
    )
    result = subprocess.run([sys.executable, "-c", code, tiny.path], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("[] True\n", "")
