"""k-means: fit, apply, keep, and import what fairseq published."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.cluster import KMeans as ScikitKMeans
from sklearn.cluster import MiniBatchKMeans

from speechunits.errors import InputError
from speechunits.fairseq_kmeans import import_fairseq_kmeans
from speechunits.kmeans import KMeans, Provenance, fit_kmeans, load_kmeans, save_kmeans

UNKNOWN = Provenance("", 0.0, 0, 0, "test")


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Four far-apart clouds [400, 6] and which cloud each point is from."""
    generator = np.random.default_rng(0)
    centres = np.eye(4, 6) * 10.0
    labels = np.repeat(np.arange(4), 100)
    return (centres[labels] + generator.normal(0, 0.3, (400, 6))).astype(np.float32), labels


def test_fit_finds_the_clusters(blobs) -> None:
    features, labels = blobs
    units = fit_kmeans(features, 4, seed=1, restarts=3).assign(features)
    pairs = set(zip(units.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == 4
    assert len({unit for unit, _ in pairs}) == 4


def test_same_seed_same_centroids(golden_utterance) -> None:
    first = fit_kmeans(golden_utterance.features, 20, seed=5)
    again = fit_kmeans(golden_utterance.features, 20, seed=5)
    other = fit_kmeans(golden_utterance.features, 20, seed=6)
    np.testing.assert_array_equal(first.centroids, again.centroids)
    assert not np.array_equal(first.centroids, other.centroids)


def test_fit_is_as_good_as_scikit_learn(golden_utterance) -> None:
    features = golden_utterance.features
    kmeans = fit_kmeans(features, 20, seed=0, restarts=3)
    ours = np.square(features - kmeans.centroids[kmeans.assign(features)]).sum()
    theirs = ScikitKMeans(20, n_init=3, random_state=0).fit(features).inertia_
    assert ours < 1.03 * theirs


def test_assign_equals_scikit_learn_on_real_features(golden_utterance) -> None:
    fitted = MiniBatchKMeans(100, random_state=0, n_init=1, batch_size=1_024).fit(golden_utterance.features)
    kmeans = KMeans(fitted.cluster_centers_.astype(np.float32), UNKNOWN)
    np.testing.assert_array_equal(kmeans.assign(golden_utterance.features), fitted.predict(golden_utterance.features))


def test_published_units_follow_from_their_features(golden_utterance) -> None:
    """The 500 published centroids are not at hand: the means of even frames, unit by unit, stand in for them.

    Of the odd frames whose unit occurs among the even ones, 59 % get their published unit among 190 candidates
    (chance is about one in a hundred); with one to six frames behind each mean, more cannot be asked.
    """
    features, units = golden_utterance.features, golden_utterance.units
    names = np.unique(units[::2])
    means = np.stack([features[::2][units[::2] == name].mean(axis=0) for name in names])
    assigned = names[KMeans(means, UNKNOWN).assign(features[1::2].copy())]
    known = np.isin(units[1::2], names)
    assert (assigned == units[1::2])[known].mean() > 0.5
    assert (assigned == np.roll(units[1::2], 20))[known].mean() < 0.05


def test_assign_does_not_depend_on_how_frames_are_cut(monkeypatch: pytest.MonkeyPatch, golden_utterance) -> None:
    kmeans = fit_kmeans(golden_utterance.features, 30, seed=0, iterations=3)
    whole = kmeans.assign(golden_utterance.features)
    monkeypatch.setattr("speechunits.kmeans._FRAMES_PER_PRODUCT", 7)
    np.testing.assert_array_equal(kmeans.assign(golden_utterance.features), whole)


def test_save_and_load(tmp_path: Path, blobs) -> None:
    kmeans = fit_kmeans(blobs[0], 4, seed=1, encoder="some encoder layer 6", frame_rate_hz=50.0)
    save_kmeans(kmeans, tmp_path / "units.safetensors")
    loaded = load_kmeans(tmp_path / "units.safetensors")
    np.testing.assert_array_equal(loaded.centroids, kmeans.centroids)
    assert loaded.provenance == kmeans.provenance
    assert (loaded.provenance.encoder, loaded.provenance.frames, loaded.provenance.seed) == (
        "some encoder layer 6",
        400,
        1,
    )


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no centroids")
    save_file({"weight": np.zeros((2, 2), dtype=np.float32)}, tmp_path / "weights")
    header = {"format": "speechunits.kmeans.1", "provenance": '{"encoder": "", "colour": "red"}'}
    save_file({"centroids": np.zeros((2, 2), dtype=np.float32)}, tmp_path / "header", metadata=header)
    for name in ("absent", "text", "weights", "header"):
        with pytest.raises(InputError, match=name) as caught:
            load_kmeans(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_features_that_cannot_be_clustered(blobs) -> None:
    features = blobs[0]
    with pytest.raises(InputError, match="cannot be made from 3 frames"):
        fit_kmeans(features[:3], 4, seed=0)
    broken = features.copy()
    broken[7, 2] = np.nan
    with pytest.raises(InputError, match="row 7"):
        fit_kmeans(broken, 4, seed=0)
    with pytest.raises(InputError, match="6 dimensions, the centroids 3"):
        KMeans(features[:4, :3].copy(), UNKNOWN).assign(features)


@pytest.mark.parametrize("protocol", [2, 3, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_imports_a_published_kmeans(tmp_path: Path, golden_utterance, protocol: int, order: str) -> None:
    fitted = MiniBatchKMeans(50, random_state=0, n_init=1).fit(golden_utterance.features)
    fitted.cluster_centers_ = np.asarray(fitted.cluster_centers_, order=order)
    joblib.dump(fitted, tmp_path / "km.bin", protocol=protocol)
    kmeans = import_fairseq_kmeans(tmp_path / "km.bin", encoder="hubert layer 9")
    np.testing.assert_array_equal(kmeans.centroids, fitted.cluster_centers_)
    assert kmeans.provenance.encoder == "hubert layer 9"


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "executed"))


def test_an_imported_kmeans_executes_nothing(tmp_path: Path, blobs) -> None:
    fitted = MiniBatchKMeans(4, random_state=0, n_init=1).fit(blobs[0])
    fitted.trap = Trap(tmp_path / "executed")
    joblib.dump(fitted, tmp_path / "km.bin")
    kmeans = import_fairseq_kmeans(tmp_path / "km.bin")
    assert kmeans.centroids.shape == (4, 6)
    assert not (tmp_path / "executed").exists()
    # The trap works when the file is loaded as usual.
    joblib.load(tmp_path / "km.bin")
    assert (tmp_path / "executed").exists()


def test_other_dumps_are_refused(tmp_path: Path, blobs) -> None:
    joblib.dump(MiniBatchKMeans(4), tmp_path / "unfitted.bin")
    joblib.dump({"cluster_centers_": blobs[0]}, tmp_path / "dict.bin")
    joblib.dump(np.array([object()], dtype=object), tmp_path / "objects.bin")
    joblib.dump(MiniBatchKMeans(4, n_init=1).fit(blobs[0]), tmp_path / "compressed.bin", compress=3)
    (tmp_path / "text.bin").write_text("not a pickle")
    (tmp_path / "empty.bin").touch()
    content = pickle.dumps(MiniBatchKMeans(4))
    (tmp_path / "cut.bin").write_bytes(content[: len(content) // 2])
    for name in ("absent", "unfitted", "dict", "objects", "compressed", "text", "empty", "cut"):
        with pytest.raises(InputError, match=f"{name}.bin") as caught:
            import_fairseq_kmeans(tmp_path / f"{name}.bin")
        assert "\n" not in str(caught.value)
