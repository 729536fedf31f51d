"""Units from recordings: HuBERT features of layer 6 and k-means, beside fairseq's two scripts.

fairseq's own code does its side: `dump_hubert_feature.py` (one file after the other, features to one .npy) and
`dump_km_label.py` (labels of each), called as functions in this process, so that starting Python counts on neither
side; its `.cuda()` calls are made to do nothing. Ours is `speechunits.extract.extract`: the same files, to shards.
HuBERT has random weights of the base shape, which cost what trained ones cost; one precision, float32, on both sides.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from bench.pairs import run_pairs
from bench.recordings import write_corpus
from bench.rows import Task
from bench.suite import CannotMeasure, Case, Measured, Options, run_script
from speechunits.audio import read_audio
from speechunits.encoders.fairseq_import import logging_left_alone
from speechunits.encoders.hubert import HubertEncoder, load_fairseq_hubert
from speechunits.extract import UnitExtractor, extract
from speechunits.extracted import read_extracted
from speechunits.kmeans import KMeans, fit_kmeans
from speechunits.listing import Listed
from speechunits.torchaudio_import import import_torchaudio

LAYER = 6
CLUSTERS = 500
SIZES_S = (30, 120, 480)
QUICK_SIZES_S = (20, 40, 80)
# What HuBERT-base has unless told otherwise; the small one is for a quick look.
BASE: dict[str, Any] = {"encoder_layers": 12}
SMALL: dict[str, Any] = {
    "encoder_layers": 6,
    "encoder_embed_dim": 256,
    "encoder_ffn_embed_dim": 1_024,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(128,10,5)] + [(128,3,2)] * 4 + [(128,2,2)] * 2",
}


@dataclass(frozen=True)
class Model:
    """A HuBERT checkpoint in fairseq's layout, our encoder of it, and centroids."""

    checkpoint: Path
    encoder: HubertEncoder
    kmeans: KMeans


def list_cases(options: Options) -> Iterator[Case]:
    """All sizes."""
    for size in QUICK_SIZES_S if options.quick else SIZES_S:
        task = Task(
            "units",
            "HuBERT features and k-means units of recordings of 1 to 30 s",
            "fairseq's scripts",
            size,
            "seconds of audio",
            "second of audio",
            target=3.0 if size == SIZES_S[-1] else None,
        )
        yield Case(task, partial(measure, size, options))


def measure(seconds: int, options: Options) -> Measured:
    """Write recordings, extract both ways, compare the units frame by frame."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "audio").mkdir()
        rows = write_corpus(folder / "audio", seconds)
        model = make_model(folder, SMALL if options.quick else BASE, rows[:8])
        run_theirs = prepare_fairseq(folder, model, rows)
        run = 0

        def run_ours() -> list[list[int]]:
            nonlocal run
            run += 1  # a folder that is there would be gone on with
            out = folder / f"ours-{run}"
            extract(rows, out, units=UnitExtractor(model.encoder, model.kmeans))
            _, found = read_extracted(out)
            return [row.units.tolist() for row in found if row.units is not None]

        # Two turns are A B A B; more would take hours at the size of base, and so would an hour of recordings.
        turns = min(options.turns, 2) if not options.quick else options.turns
        compared = run_pairs(run_ours, run_theirs, turns=turns, work=seconds, clock=options.clock)
    frames = sum(map(len, compared.ours))
    other = sum(a != b for x, y in zip(compared.ours, compared.theirs, strict=True) for a, b in zip(x, y, strict=True))
    shape = "small shape" if options.quick else "base shape"
    note = f"{shape}, {len(rows)} files, {other} of {frames} frames have another unit"
    return Measured(compared.pairs, other == 0, note, ("speechunits", "ve-fairseq", "torch"))


def make_model(folder: Path, shape: dict[str, Any], rows: list[Listed]) -> Model:
    """Save random weights as fairseq's trainer does, and fit centroids to what they make of some recordings."""
    with logging_left_alone():
        from fairseq.data import Dictionary
        from fairseq.models.hubert import HubertConfig, HubertModel
        from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig
    torch.manual_seed(0)
    config = HubertConfig(label_rate=50.0, **shape)
    dictionary = Dictionary()
    for unit in range(CLUSTERS):
        dictionary.add_symbol(str(unit))
    task = HubertPretrainingConfig(data="labels", labels=["km"], label_rate=50.0)
    model = HubertModel(config, task, [dictionary])
    known = {name: value for name, value in asdict(task).items() if not str(value).startswith("${")}
    options = {
        "model": {**asdict(config), "_name": "hubert"},
        "task": {**known, "_name": "hubert_pretraining"},
    }
    path = folder / "hubert.pt"
    torch.save({"model": model.state_dict(), "cfg": options, "task_state": {"dictionaries": [dictionary]}}, path)
    encoder = load_fairseq_hubert(path, LAYER)
    features = np.concatenate(encoder.encode([read_audio(row.path) for row in rows]))
    clusters = min(CLUSTERS, len(features) // 2)
    return Model(path, encoder, fit_kmeans(features, clusters, seed=0, encoder=encoder.identity, iterations=5))


def prepare_fairseq(folder: Path, model: Model, rows: list[Listed]) -> Callable[[], list[list[int]]]:
    """What runs both of fairseq's scripts over the recordings, and reads the labels that they wrote."""
    import joblib
    import soundfile
    from sklearn.cluster import MiniBatchKMeans

    scripts = import_scripts()
    fitted = MiniBatchKMeans(len(model.kmeans.centroids), n_init=1)
    fitted.cluster_centers_ = model.kmeans.centroids
    joblib.dump(fitted, folder / "km.bin")
    listed = [str(folder / "audio"), *(f"{row.path.name}\t{soundfile.info(str(row.path)).frames}" for row in rows)]
    (folder / "all.tsv").write_text("\n".join(listed) + "\n", encoding="utf-8")
    with on_the_cpu():
        reader = scripts.make_reader(model)

    def run() -> list[list[int]]:
        with on_the_cpu():
            generator, count = scripts.get_path_iterator(str(folder / "all.tsv"), 1, 0)
            scripts.dump_feature(reader, generator, count, "all", 1, 0, str(folder / "features"))
            scripts.dump_label(str(folder / "features"), "all", str(folder / "km.bin"), 1, 0, str(folder / "labels"))
        lines = (folder / "labels" / "all_0_1.km").read_text(encoding="ascii").splitlines()
        return [list(map(int, line.split())) for line in lines]

    return run


@dataclass(frozen=True)
class Scripts:
    """Functions of fairseq's simple_kmeans."""

    reader: Any
    get_path_iterator: Callable[..., Any]
    dump_feature: Callable[..., None]
    dump_label: Callable[..., None]

    def make_reader(self, model: Model) -> Any:
        """Their reader over our copy of the very same model: theirs would unpickle the file."""
        reader = self.reader.__new__(self.reader)
        reader.model, reader.layer, reader.max_chunk = load_model(model.checkpoint), LAYER, 1_600_000
        reader.task = type("Task", (), {"cfg": type("Config", (), {"sample_rate": 16_000, "normalize": False})})
        return reader


def load_model(path: Path) -> Any:
    """Fairseq's model with all of its layers, as its scripts have it."""
    return load_fairseq_hubert(path, LAYER)._model


def import_scripts() -> Scripts:
    """Import fairseq's scripts, which import each other as if they lay in the current folder.

    Raises:
        CannotMeasure: this fairseq does not carry them, or what they need is not there.
    """
    found = find_spec("fairseq")
    folder = Path(found.origin).parent / "examples" / "hubert" / "simple_kmeans" if found and found.origin else None
    if folder is None or not folder.is_dir():
        raise CannotMeasure("this fairseq carries no examples/hubert/simple_kmeans")
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys, "path", [str(folder), *sys.path]))
        stack.enter_context(logging_left_alone())
        import_torchaudio()
        import dump_hubert_feature
        import dump_km_label
        import feature_utils
    return Scripts(
        dump_hubert_feature.HubertFeatureReader,
        feature_utils.get_path_iterator,
        feature_utils.dump_feature,
        dump_km_label.dump_label,
    )


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Let fairseq's calls of `.cuda()` give what they got, and its progress bars be silent.

    It also imports a part of torchaudio that is no more, to convert other rates and stereo, of which there is none.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.dict(sys.modules, {"torchaudio.sox_effects": ModuleType("torchaudio.sox_effects")}))
        stack.enter_context(patch.object(torch.Tensor, "cuda", lambda tensor: tensor))
        stack.enter_context(patch.object(torch.nn.Module, "cuda", lambda module: module))
        stack.enter_context(patch("tqdm.tqdm", lambda items, **_: items))
        yield


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
