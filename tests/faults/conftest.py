"""What every fault strikes: small corpora, tables, and commands that take long enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from molregpt.data.shipped import sample_pairs, shipped_pairs
from polyvoice.corpus.manifest import PairRow, write_manifest
from speechunits.audio import Waveform, write_wav
from speechunits.encoders.mfcc import MfccEncoder
from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, write_extracted
from speechunits.kmeans import fit_kmeans, save_kmeans


@dataclass(frozen=True)
class Inputs:
    """What the commands work on.

    Attributes:
        texts: phrases to be spoken.
        recordings: a list of 60 recordings.
        kmeans: centroids of MFCC.
        pairs: a pair manifest of the same recordings; split train, dev and test.
        extracted: units and codes as if of the manifest's recordings.
        test: a table of 60 molecules with descriptions.
        pool: a table of 600 others.
    """

    texts: Path
    recordings: Path
    kmeans: Path
    pairs: Path
    extracted: Path
    test: Path
    pool: Path


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    home, chance = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    texts = "".join(f"k{n}\ttrain\tenglish {n}\t中文{n}\n" for n in range(40))
    (home / "texts.tsv").write_text("key\tsplit\ten\tzh\n" + texts, "utf-8")
    names, rows, utterances = [], [], []
    for number in range(30):
        audio = []
        for language in ("zh", "en"):
            name = f"{number}-{language}.wav"
            write_wav(home / name, Waveform(chance.normal(0, 0.1, 6_000 + 400 * number).astype(np.float32), 16_000))
            units = np.repeat(chance.integers(0, 40, 12), chance.integers(1, 4, 12))
            utterances.append(Extracted(name, units.size / 50, units, np.stack([units % 16, units % 7])))
            audio.append(home / name)
        split = "train" if number < 24 else "dev" if number < 27 else "test"
        rows.append(PairRow(f"p{number}", audio[0], "zh", f"字{number}", audio[1], "en", f"word {number}", "s", split))
        names += [path.name for path in audio]
    (home / "list.tsv").write_text("\n".join(["audio", *names]) + "\n")
    write_manifest(home / "pairs.tsv", rows)
    info = ExtractedInfo(UnitsInfo("encoder", "kmeans", 40, 50.0), CodesInfo("codec", 2, 16, 50.0))
    write_extracted(home / "extracted", info, utterances)
    encoder = MfccEncoder()
    [features] = encoder.encode([Waveform(chance.normal(0, 0.1, 40_000).astype(np.float32), 16_000)])
    save_kmeans(fit_kmeans(features, 12, seed=0, encoder=encoder.identity), home / "kmeans.safetensors")
    for name, pairs in (("test", sample_pairs()[:60]), ("pool", shipped_pairs()[:600])):
        lines = "".join(f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in pairs)
        (home / f"{name}.tsv").write_text("CID\tSMILES\tdescription\n" + lines, "utf-8")
    return Inputs(
        texts=home / "texts.tsv",
        recordings=home / "list.tsv",
        kmeans=home / "kmeans.safetensors",
        pairs=home / "pairs.tsv",
        extracted=home / "extracted",
        test=home / "test.tsv",
        pool=home / "pool.tsv",
    )
