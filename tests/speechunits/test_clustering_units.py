"""Clustering of whole corpora: all at once or in mini-batches, from recordings or from files of features."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans as ScikitKMeans

from speechunits.audio import write_wav
from speechunits.clustering import encode_files, fit_feature_files, fit_units, load_centroids
from speechunits.encoders.hubert import load_fairseq_hubert
from speechunits.errors import InputError
from speechunits.kmeans import KMeans, Provenance, save_kmeans


@pytest.fixture(scope="module")
def shards(golden_utterance, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The published features of the golden utterance in three files, as fairseq's scripts leave them."""
    folder = tmp_path_factory.mktemp("features")
    parts = np.array_split(golden_utterance.features, [100, 350])
    for number, part in enumerate(parts):
        np.save(folder / f"train_{number}_3.npy", part)
    return sorted(folder.iterdir())


def distortion(kmeans: KMeans, features: np.ndarray) -> float:
    return float(np.square(features - kmeans.centroids[kmeans.assign(features)]).sum())


def test_files_of_features_are_clustered_as_one(shards: list[Path], golden_utterance) -> None:
    from speechunits.kmeans import fit_kmeans

    kmeans = fit_feature_files(shards, 20, seed=1, encoder="hubert layer 9", frame_rate_hz=50.0)
    whole = fit_kmeans(golden_utterance.features, 20, seed=1)
    np.testing.assert_array_equal(kmeans.centroids, whole.centroids)
    origin = kmeans.provenance
    assert (origin.encoder, origin.frame_rate_hz, origin.frames, origin.seed) == ("hubert layer 9", 50.0, 596, 1)


def test_mini_batches_come_close_to_the_whole(
    shards: list[Path], golden_utterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small batches, so that there are several: the result stays within 15 % of what scikit-learn gets from all."""
    monkeypatch.setattr("speechunits.clustering._FRAMES_PER_BATCH", 100)
    monkeypatch.setattr("speechunits.clustering._BATCHES_MIXED", 3)
    features = golden_utterance.features
    kmeans = fit_feature_files(shards, 20, seed=1, method="mini-batch")
    best = ScikitKMeans(20, n_init=3, random_state=0).fit(features).inertia_
    one_mean = np.square(features - features.mean(axis=0)).sum()
    assert best < distortion(kmeans, features) < 1.15 * best < 0.9 * one_mean
    assert kmeans.centroids.dtype == np.float32
    assert kmeans.provenance.made_by.endswith("mini-batch")
    again = fit_feature_files(shards, 20, seed=1, method="mini-batch")
    np.testing.assert_array_equal(again.centroids, kmeans.centroids)
    other = fit_feature_files(shards, 20, seed=2, method="mini-batch")
    assert not np.array_equal(other.centroids, kmeans.centroids)


def test_mini_batches_find_clusters_that_come_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four far-apart clouds, file by file: without mixing, the first batch would know one of them only."""
    monkeypatch.setattr("speechunits.clustering._FRAMES_PER_BATCH", 100)
    generator = np.random.default_rng(0)
    centres = 10 * np.eye(4, 6)
    for number, centre in enumerate(centres):
        np.save(tmp_path / f"{number}.npy", (centre + generator.normal(0, 0.3, (300, 6))).astype(np.float32))
    kmeans = fit_feature_files(sorted(tmp_path.iterdir()), 4, seed=0, method="mini-batch")
    found = kmeans.centroids[kmeans.assign(centres.astype(np.float32))]
    np.testing.assert_allclose(found, centres, atol=0.3)


@pytest.mark.parametrize("method", ["full", "mini-batch"])
def test_a_share_of_the_frames(shards: list[Path], method: str) -> None:
    part = fit_feature_files(shards, 4, seed=0, share=0.5, method=method)
    assert 0.35 < part.provenance.frames / 596 < 0.65
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="share"):
            fit_feature_files(shards, 4, seed=0, share=share, method=method)
    for clusters in (597, 0):
        with pytest.raises(InputError, match=f"{clusters} clusters cannot be made"):
            fit_feature_files(shards, clusters, seed=0, method=method)


def test_half_precision_is_read(golden_utterance, tmp_path: Path) -> None:
    np.save(tmp_path / "half.npy", golden_utterance.features.astype(np.float16))
    kmeans = fit_feature_files([tmp_path / "half.npy"], 5, seed=0)
    assert kmeans.centroids.shape == (5, 768)


def test_other_files_are_refused(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "vector.npy", np.zeros(4, dtype=np.float32))
    np.save(tmp_path / "double.npy", np.zeros((4, 768)))
    np.save(tmp_path / "narrow.npy", np.zeros((4, 7), dtype=np.float32))
    np.savez(tmp_path / "many.npy", a=np.zeros((4, 768), dtype=np.float32))
    np.save(tmp_path / "nan.npy", np.full((4, 768), np.nan, dtype=np.float32))
    for name in ("absent.npy", "text.npy", "objects.npy", "vector.npy", "double.npy", "narrow.npy", "many.npy.npz"):
        with pytest.raises(InputError, match=name) as caught:
            fit_feature_files([shards[0], tmp_path / name], 4, seed=0)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"nan\.npy: holds NaN or infinity between rows 0 and 3"):
        fit_feature_files([tmp_path / "nan.npy"], 4, seed=0)


def test_recordings_and_their_features_give_the_same_units(save_tiny_hubert, make_waveform, tmp_path: Path) -> None:
    encoder = load_fairseq_hubert(save_tiny_hubert().path, 2)
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, path in enumerate(paths):
        write_wav(path, make_waveform(0.5 + 0.2 * number, number))
    files = list(encode_files(paths, encoder))
    assert [file.path for file in files] == paths
    np.save(tmp_path / "features.npy", np.concatenate([file.features for file in files]))
    for method in ("full", "mini-batch"):
        heard = fit_units(paths, encoder, 8, seed=3, method=method)
        read = fit_feature_files([tmp_path / "features.npy"], 8, seed=3, method=method)
        np.testing.assert_allclose(heard.centroids, read.centroids, atol=1e-4)
        assert heard.provenance.encoder == encoder.identity
        assert heard.provenance.frame_rate_hz == 50.0
    write_wav(tmp_path / "short.wav", make_waveform(0.02))
    with pytest.raises(InputError, match=r"short\.wav: 0\.0200 s is shorter than one frame \(0\.0250 s\)"):
        fit_units([tmp_path / "short.wav"], encoder, 2, seed=0)


def test_centroids_have_names(tmp_path: Path) -> None:
    one = KMeans(np.eye(3, dtype=np.float32), Provenance("a", 50.0, 9, 0, "x"))
    save_kmeans(one, tmp_path / "one.safetensors")
    assert load_centroids(tmp_path / "one.safetensors").identity == one.identity
    assert KMeans(2 * one.centroids, one.provenance).identity != one.identity
    flat = np.ones((2, 6), dtype=np.float32)
    assert KMeans(flat, one.provenance).identity != KMeans(flat.reshape(3, 4), one.provenance).identity
