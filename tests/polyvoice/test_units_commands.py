"""`polyvoice kmeans` and `polyvoice units`, run as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
from sklearn.cluster import MiniBatchKMeans

from polyvoice.cli.main import run as run_command
from polyvoice.units import fit_units
from speechunits.audio import read_audio
from speechunits.encoders.hubert import load_fairseq_hubert
from speechunits.errors import InputError
from speechunits.kmeans import load_kmeans


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyvoice.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fitted(checkpoint: Path, recordings: list[Path], tmp_path_factory: pytest.TempPathFactory):
    """The result of `polyvoice kmeans` and the file that it wrote."""
    out = tmp_path_factory.mktemp("units") / "units.safetensors"
    options = ("--encoder", checkpoint, "--layer", 2, "--clusters", 12, "--seed", 3)
    return run("kmeans", *recordings, *options, "--out", out, "--json"), out


def test_kmeans_writes_centroids_that_know_their_encoder(fitted, checkpoint: Path, recordings: list[Path]) -> None:
    result, out = fitted
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    encoder = load_fairseq_hubert(checkpoint, 2)
    frames = sum(map(len, encoder.encode([read_audio(path) for path in recordings])))
    expected = {"kmeans": str(out), "clusters": 12, "dimension": 16, "frames": frames, "seed": 3}
    assert summary == {**expected, "encoder": encoder.identity}
    again = fit_units(recordings, encoder, 12, seed=3)
    np.testing.assert_allclose(load_kmeans(out).centroids, again.centroids, atol=1e-5)


def test_units_prints_what_the_library_computes(fitted, checkpoint: Path, recordings: list[Path]) -> None:
    options = ("--encoder", checkpoint, "--layer", 2, "--kmeans", fitted[1], "--show", "--from", "es", "--to", "fr")
    result = run("units", *recordings, *options, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    encoder = load_fairseq_hubert(checkpoint, 2)
    assert (answer["encoder"], answer["frame_rate_hz"], answer["clusters"]) == (encoder.identity, 50.0, 12)
    assert [file["audio"] for file in answer["files"]] == [str(path) for path in recordings]
    assert [file["duration_s"] for file in answer["files"]] == [0.8, 1.5]
    for path, file in zip(recordings, answer["files"], strict=True):
        expected = load_kmeans(fitted[1]).assign(encoder.encode([read_audio(path)])[0]).tolist()
        assert [
            unit for unit, frames in zip(file["units"], file["lengths"], strict=True) for _ in range(frames)
        ] == expected
        assert len(set(expected)) > 1
        content = [f"units:{unit}" for unit in file["units"]]
        shown = {task["line"]: task["tokens"] for task in file["tasks"]}
        assert shown["translate es {src:units} to fr {tgt:units!}"] == [
            *("<begin>", "translate", "es", "<units>", *content, "<end>", "to", "fr", "<units>")
        ]
        assert shown["transcribe es {speech:units} as {text:es.text!}"] == [
            *("<begin>", "transcribe", "es", "<units>", *content, "<end>", "as", "<es.text>")
        ]
        assert len(shown) == 4  # with speech to text, and the chain


def test_units_prints_a_line_a_file_and_takes_published_centroids(
    checkpoint: Path, recordings: list[Path], tmp_path: Path
) -> None:
    [features] = load_fairseq_hubert(checkpoint, 1).encode([read_audio(recordings[0])])
    published = MiniBatchKMeans(5, random_state=0, n_init=1).fit(features)
    joblib.dump(published, tmp_path / "km.bin")
    options = ("--encoder", checkpoint, "--layer", 1, "--kmeans", tmp_path / "km.bin")
    result = run("units", recordings[0], *options, "--show")
    assert (result.returncode, result.stderr) == (0, "")
    units, tokens, *others = result.stdout.splitlines()
    assert len(others) == 3
    name, pairs = units.split("\t")
    assert name == str(recordings[0])
    expanded = [int(unit) for unit, frames in (pair.split(":") for pair in pairs.split()) for _ in range(int(frames))]
    assert expanded == published.predict(features).tolist()
    assert tokens.startswith("\t<begin> translate zh <units> units:")
    assert tokens.endswith("<end> to en <units>")


def assert_bad_input(status: int, output: str, errors: str, *words: str) -> None:
    assert (status, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert all(word in errors for word in ("polyvoice: ", *words)), errors


def test_bad_input_is_one_line_and_status_2(fitted, checkpoint: Path, recordings: list[Path], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(300), 16_000)
    options = ("--encoder", checkpoint, "--layer", 2, "--kmeans", fitted[1])
    result = run("units", recordings[0], tmp_path / "short.wav", *options)
    assert_bad_input(result.returncode, result.stdout, result.stderr, "short.wav", "shorter than one frame")


def test_each_bad_input_is_named(
    fitted,
    checkpoint: Path,
    recordings: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    absent = tmp_path / "absent" / "units.safetensors"
    [sound, text, kmeans] = [recordings[0], tmp_path / "text.wav", ("--kmeans", fitted[1])]
    layer, other_layer = ("--encoder", checkpoint, "--layer", 2), ("--encoder", checkpoint, "--layer", 1)
    cases: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
        (("units", text, *layer, *kmeans, "--json"), ("text.wav", "cannot be read as audio")),
        (("units", sound, *other_layer, *kmeans), ("fitted on", "layer 2, not on", "layer 1")),
        (("units", sound, *layer, *kmeans, "--show", "--from", "ZH"), ("language 'ZH'",)),
        (("units", sound, "--encoder", text, "--layer", 1, *kmeans), ("text.wav",)),
        (("units", sound, *layer, "--kmeans", absent), ("units.safetensors",)),
        (("kmeans", sound, *layer, "--out", absent), ("units.safetensors", "does not exist")),
        (("kmeans", *layer, "--out", tmp_path / "units.safetensors"), ("no audio file is given",)),
    ]
    for arguments, words in cases:
        status = run_command(list(map(str, arguments)))
        assert_bad_input(status, *capsys.readouterr(), *words)


def test_an_unknown_option_is_status_2() -> None:
    result = run("units", "--colour", "red")
    assert result.returncode == 2
    assert "colour" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, polyvoice.cli.main\n"
        "try:\n    polyvoice.cli.main.run(['--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "print(sorted({'torch', 'faiss', 'numpy', 'fairseq', 'soundfile'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "units" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_fit_can_take_a_share_of_the_frames(checkpoint: Path, recordings: list[Path]) -> None:
    encoder = load_fairseq_hubert(checkpoint, 2)
    whole = fit_units(recordings, encoder, 4, seed=0)
    part = fit_units(recordings, encoder, 4, seed=0, share=0.5)
    assert 0.3 < part.provenance.frames / whole.provenance.frames < 0.7
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="share"):
            fit_units(recordings, encoder, 4, seed=0, share=share)
    with pytest.raises(InputError, match="9999 clusters cannot be made"):
        fit_units(recordings, encoder, 9_999, seed=0)
