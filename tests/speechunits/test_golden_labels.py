"""The way from sound to published labels, as far as it can be checked without HuBERT's weights and its 500 centroids.

fairseq's wheel carries one utterance with the features that HuBERT-base, -large and -xlarge gave for it and the units
that the published k-means gave for the first. Neither the networks nor the centroids are there, so what lies between is
checked piece by piece: the number of frames, the rule of assignment, and what clustering the same features finds.
"""

from itertools import groupby
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from speechunits.audio import read_audio
from speechunits.encoders.fairseq_checkpoint import parse_conv_layers
from speechunits.encoders.hubert import hop, receptive_field
from speechunits.fairseq_kmeans import import_fairseq_kmeans
from speechunits.kmeans import fit_kmeans
from speechunits.runs import deduplicate, expand

_PUBLISHED = ("base.L9", "large.L20", "xlarge.L30")


def features_of(golden_utterance, name: str) -> np.ndarray:
    return np.load(golden_utterance.audio.with_name(f"sample.{name}.npy"))


@pytest.mark.parametrize("name", _PUBLISHED)
def test_frames_of_the_published_features(golden_utterance, name: str) -> None:
    """HuBERT's convolutions, as its checkpoints write them, give as many frames as all three models gave."""
    layers = parse_conv_layers("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2")
    samples = read_audio(golden_utterance.audio, 16_000).samples.size
    frames = 1 + (samples - receptive_field(layers)) // hop(layers)
    assert frames == int(golden_utterance.audio.with_name(f"sample.{name}.len").read_text())
    assert frames == len(features_of(golden_utterance, name)) == len(golden_utterance.units)


def test_published_units_as_runs(golden_utterance) -> None:
    text = golden_utterance.audio.with_name("sample.base.L9.km500.km").read_text()
    runs = deduplicate(golden_utterance.units)
    assert len(runs) == sum(1 for _ in groupby(text.split())) == 370
    assert runs.lengths.sum() == 596
    assert list(zip(runs.units[:4].tolist(), runs.lengths[:4].tolist(), strict=True)) == [
        (17, 4),
        (296, 2),
        (20, 3),
        (461, 2),
    ]
    # Written as fairseq writes labels, the file comes out again, byte by byte.
    assert " ".join(map(str, expand(runs))) == text.strip()


def test_labels_are_those_of_dump_km_label(golden_utterance, tmp_path: Path) -> None:
    """fairseq's ApplyKmeans, written out: x^2 - 2 x C + C^2, on the published features and a k-means of its kind."""
    features = golden_utterance.features
    joblib.dump(MiniBatchKMeans(100, random_state=0, n_init=1).fit(features), tmp_path / "km.bin")
    centroids = joblib.load(tmp_path / "km.bin").cluster_centers_.T
    distances = (features**2).sum(1, keepdims=True) - 2 * features @ centroids + (centroids**2).sum(0, keepdims=True)
    kmeans = import_fairseq_kmeans(tmp_path / "km.bin")
    np.testing.assert_array_equal(kmeans.assign(features), distances.argmin(axis=1))


def test_our_units_agree_with_the_published_ones(golden_utterance) -> None:
    """Frames with one published unit mostly share one of our 20 units (61 %); frames with two rarely do (5 %).

    Neighbouring frames are left out, which are alike anyway.
    """
    kmeans = fit_kmeans(golden_utterance.features, 20, seed=0)
    ours, published = kmeans.assign(golden_utterance.features), golden_utterance.units
    first, second = np.triu_indices(len(ours), k=5)
    together = ours[first] == ours[second]
    same = published[first] == published[second]
    assert together[same].mean() > 0.5
    assert together[~same].mean() < 0.1
