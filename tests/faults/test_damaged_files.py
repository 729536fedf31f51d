"""Truncated, bit-flipped and foreign files, of every format that is read: the content, or one line that names the file.

Never a traceback, never a crash of the interpreter, and where a format carries digests never other content.
"""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
import struct
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import torch
from safetensors.torch import save_file

import molindex.errors
import molregpt.errors
import polyvoice.errors
import speechunits.errors
import unitlm.errors
from molindex.captions import CaptionIndex
from molindex.molecules import MoleculeIndex
from molindex.tables import read_rows
from molregpt.backends.cache import ReplyCache
from molregpt.data.shipped import sample_pairs
from molregpt.data.table import read_pairs
from molregpt.evaluation.journal import Journal
from molregpt.evaluation.rows import EvaluatedRow
from molregpt.records import Answer, Usage
from polyvoice.ablations.plan import read_plan
from polyvoice.bundle.manifest import read_manifest as read_bundle_manifest
from polyvoice.corpus.manifest import read_manifest as read_pair_manifest
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.stage_folder import read_stage
from polyvoice.stages.translate.memory import TranslationMemory
from polyvoice.tasks import Direction
from speechunits.audio import read_audio
from speechunits.clustering import fit_feature_files, load_centroids
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.settings import CodecSettings
from speechunits.codecs.speech_codec.storage import read_codec, write_codec
from speechunits.encoders.ctranslate2_file import read_ctranslate2
from speechunits.encoders.fairseq_checkpoint import read_hubert_checkpoint
from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, read_extracted, write_extracted
from speechunits.kmeans import KMeans, Provenance, load_kmeans, save_kmeans
from speechunits.listing import read_list
from speechunits.weights_file import read_weights
from unitlm.alphabet import Bytes, Units
from unitlm.checkpoint import load_model, read_checkpoint, save_model
from unitlm.llama import export_llama, import_llama
from unitlm.metrics import read_metrics
from unitlm.model import Decoder, ModelConfig
from unitlm.shards import Example, ShardSet, write_shard
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

INPUT_ERRORS = (
    molindex.errors.InputError,
    molregpt.errors.InputError,
    polyvoice.errors.InputError,
    speechunits.errors.InputError,
    unitlm.errors.InputError,
)
DECODER = ModelConfig(vocabulary_size=20, width=16, layers=1, heads=2, key_value_heads=1, feed_forward_width=16)
TABLE = "CID\tSMILES\tdescription\n" + "".join(f"{p.key}\t{p.smiles}\t{p.caption}\n" for p in sample_pairs()[:8])
MANIFEST = (
    "id\tsource_audio\tsource_lang\tsource_text\ttarget_lang\tsplit\n"
    "a\ta.wav\tzh\t你好\ten\ttrain\nb\tb.wav\tzh\t书\ten\ttest\n"
)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: writes a good one into an empty folder, and gives its name.
        read: reads everything of it; gets the file.
        sealed: whether digests cover all of it, so that no changed bit may be taken for content.
    """

    write: Callable[[Path], str]
    read: Callable[[Path], object]
    sealed: bool = False


def write_text(name: str, text: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_text(text, "utf-8")
        return name

    return write


def write_decoder(part: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        save_model(folder, seeded_decoder())
        return next(path.name for path in folder.iterdir() if path.name.startswith(part))

    return write


def seeded_decoder() -> Decoder:
    model = Decoder(DECODER).eval()
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def write_llama(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        export_llama(seeded_decoder(), folder / "llama", maximum_length=64)
        return f"llama/{name}"

    return write


def write_token_shard(folder: Path) -> str:
    examples = [Example(f"e{n}", np.arange(5 + n, dtype=np.int32), np.ones(5 + n, np.bool_)) for n in range(20)]
    write_shard(folder / "0.parquet", examples, provenance="here")
    return "0.parquet"


def read_token_shard(path: Path) -> object:
    shard = ShardSet(path).load(0)
    return [
        (example.key, example.ids.tolist(), example.loss_mask.tolist()) for example in map(shard.__getitem__, range(20))
    ]


def write_units_shard(folder: Path) -> str:
    info = ExtractedInfo(UnitsInfo("encoder", "kmeans", 8, 50.0), CodesInfo("codec", 2, 8, 50.0))
    chance = np.random.default_rng(0)
    rows = [
        Extracted(f"{n}.wav", n + 0.5, chance.integers(0, 8, 30), chance.integers(0, 8, (2, 30))) for n in range(12)
    ]
    write_extracted(folder, info, rows)
    return "00000.parquet"


def read_units_shard(path: Path) -> object:
    _, rows = read_extracted(path.parent)
    return [(row.audio, row.duration_s, row.units.tolist(), row.codes.tolist()) for row in rows]


def write_vocabulary(folder: Path) -> str:
    task = Task.parse("say {a:units} as {b:text}")
    Vocabulary.build([Units("units", 9), Bytes("text")], [task]).save(folder / "vocabulary.json")
    return "vocabulary.json"


def write_centroids(folder: Path) -> str:
    centroids = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    save_kmeans(KMeans(centroids, Provenance("here", 50.0, 9, 0, "test")), folder / "units.safetensors")
    return "units.safetensors"


def write_km_bin(folder: Path) -> str:
    import joblib
    from sklearn.cluster import MiniBatchKMeans

    points = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    joblib.dump(MiniBatchKMeans(6, random_state=0, n_init=1).fit(points), folder / "km.bin")
    return "km.bin"


def write_hubert(folder: Path) -> str:
    options = Namespace(arch="hubert", conv_feature_layers="[(8,10,5)]", sample_rate=16_000, normalize=False)
    torch.save({"model": {"weight": torch.arange(12.0)}, "args": options, "cfg": None}, folder / "hubert.pt")
    return "hubert.pt"


def write_ctranslate2(folder: Path) -> str:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    tensor = np.arange(6, dtype="<f4").tobytes()
    content = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 1)
    content += text("encoder/weight") + struct.pack("<BIIBI", 2, 2, 3, 0, len(tensor)) + tensor + struct.pack("<I", 0)
    (folder / "model.bin").write_bytes(content)
    return "model.bin"


def write_speech_codec(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        small = CodecSettings(encoder_width=8, decoder_width=8, latent_width=4, levels=2, codebook_size=8, mel_bands=16)
        torch.manual_seed(0)
        write_codec(folder, CodecModel(small))
        return name

    return write


def write_weights(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        tensors = {"weight": torch.arange(12.0)}
        save_file(tensors, folder / name) if name.endswith(".safetensors") else torch.save(tensors, folder / name)
        return name

    return write


def write_features(folder: Path) -> str:
    np.save(folder / "features.npy", np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
    return "features.npy"


def write_index(kind: type[MoleculeIndex] | type[CaptionIndex]) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        pairs = sample_pairs()[:12]
        rows = [(pair.key, pair.smiles if kind is MoleculeIndex else pair.caption) for pair in pairs]
        kind.build(rows).save(folder / "index")
        return "index"

    return write


def read_index(kind: type[MoleculeIndex] | type[CaptionIndex]) -> Callable[[Path], object]:
    return lambda path: kind.open(path, verify=True).search("CCO", 3)


def write_cache(folder: Path) -> str:
    cache = ReplyCache(folder / "replies.sqlite")
    for number in range(40):
        cache.append("http://here", "model", f'{{"n":{number}}}', "an answer " * 20)
    cache.close()
    return "replies.sqlite"


def read_cache(path: Path) -> object:
    from molregpt.backends.cache import request_key

    cache = ReplyCache(path)
    try:
        cache.append("http://here", "model", "{}", "x")
        return [cache.read(request_key("http://here", f'{{"n":{number}}}')) for number in range(40)]
    finally:
        cache.close()


def write_journal(folder: Path) -> str:
    rows = [
        EvaluatedRow(n, str(n), "CCO", "ethanol", Answer("x", "model", 1, Usage(), ()), "y", 0.5, ()).to_json()
        for n in range(4)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return "rows.jsonl"


def read_journal(path: Path) -> object:
    with Journal(path) as journal:
        return dict(journal.rows)


def write_stage(folder: Path) -> str:
    stage = {
        "format": "polyvoice.stage.1",
        "stage": "duration",
        "directions": ["zh-en"],
        "units": {"encoder": "e", "kmeans": "k", "clusters": 8, "frame_rate_hz": 50.0},
        "codes": {"codec": "c", "levels": 2, "codebook_size": 8, "frame_rate_hz": 50.0},
        "parameters": 12,
        "settings": {"course": {"steps": 3}},
        "trained_on": {"manifest": "m", "digest": "d", "pairs": 2, "step": 3, "held_out_loss": None},
    }
    (folder / "stage.json").write_text(json.dumps(stage), "utf-8")
    return "stage.json"


def write_bundle(folder: Path) -> str:
    stage = {"path": "stage", "parameters": 1}
    trained = {"manifest": "m", "digest": "d", "pairs": 2, "step": 3, "held_out_loss": None}
    (folder / "stage").mkdir(exist_ok=True)
    values = {
        "format": "polyvoice.bundle",
        "version": 1,
        "languages": ["zh", "en"],
        "name": "toy",
        "directions": ["zh-en"],
        "units": {"encoder": "e", "kmeans": "k", "clusters": 8, "frame_rate_hz": 50.0},
        "codes": {"codec": "c", "levels": 2, "codebook_size": 8, "frame_rate_hz": 50.0},
        "encoder": {"path": "stage", "layer": 1},
        "kmeans": "stage",
        "codec": {"name": None, "path": "stage", "levels": None},
        "stages": {name: {**stage, "trained_on": trained} for name in ("translate", "duration", "first_level")},
        "scores": {},
    }
    (folder / "bundle.json").write_text(json.dumps(values), "utf-8")
    return "bundle.json"


def write_memory(folder: Path) -> str:
    pairs = [(f"第{number}句。", f"Sentence {number}.") for number in range(30)]
    TranslationMemory((Direction("zh", "en"), *texts) for texts in pairs).save(folder / "memory.parquet")
    return "memory.parquet"


def write_table(folder: Path) -> str:
    (folder / "table.tsv.gz").write_bytes(gzip.compress(TABLE.encode(), mtime=0))
    return "table.tsv.gz"


def write_sound(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        soundfile.write(folder / name, 0.1 * np.random.default_rng(0).normal(size=4_000), 16_000)
        return name

    return write


def write_sdf(folder: Path) -> str:
    from rdkit import Chem

    with Chem.SDWriter(str(folder / "some.sdf")) as writer:
        for pair in sample_pairs()[:3]:
            molecule = Chem.MolFromSmiles(pair.smiles)
            molecule.SetProp("CID", pair.key)
            molecule.SetProp("description", pair.caption)
            writer.write(molecule)
    return "some.sdf"


PLAN = (
    'manifest = "pairs.tsv"\nextracted = "extracted"\n[[variants]]\nname = "all"\ntrain.translate = ["--steps", "3"]\n'
)
METRICS = "".join(f'{{"step": {step}, "loss": {1 / step}}}\n' for step in range(1, 9))
FORMATS = {
    "checkpoint: checkpoint.json": Format(write_decoder("checkpoint.json"), lambda path: load_model(path.parent)),
    "checkpoint: weights": Format(
        write_decoder("model-"), lambda path: str(read_checkpoint(path.parent).parts), sealed=True
    ),
    "Llama folder: config.json": Format(write_llama("config.json"), lambda path: import_llama(path.parent)),
    "Llama folder: weights": Format(write_llama("model.safetensors"), lambda path: import_llama(path.parent)),
    "token shard": Format(write_token_shard, read_token_shard),
    "vocabulary": Format(write_vocabulary, lambda path: Vocabulary.load(path)),
    "metrics.jsonl": Format(write_text("metrics.jsonl", METRICS), lambda path: read_metrics(path.parent)),
    "extracted shard": Format(write_units_shard, read_units_shard),
    "list": Format(write_text("list.tsv", "audio\tspeaker\na.wav\ts\nb.wav\ts\n"), read_list),
    "k-means": Format(write_centroids, load_kmeans),
    "fairseq's km.bin": Format(write_km_bin, load_centroids),
    "fairseq's HuBERT": Format(write_hubert, read_hubert_checkpoint),
    "CTranslate2's model.bin": Format(write_ctranslate2, read_ctranslate2),
    "weights, torch": Format(write_weights("weights.th"), read_weights),
    "weights, safetensors": Format(write_weights("weights.safetensors"), read_weights),
    "codec: codec.json": Format(write_speech_codec("codec.json"), lambda path: read_codec(path.parent)),
    "codec: weights": Format(write_speech_codec("model.safetensors"), lambda path: read_codec(path.parent)),
    "features": Format(write_features, lambda path: fit_feature_files([path], 3, seed=0)),
    "WAV": Format(write_sound("a.wav"), lambda path: read_audio(path, 8_000)),
    "FLAC": Format(write_sound("a.flac"), lambda path: read_audio(path, 8_000)),
    "OGG": Format(write_sound("a.ogg"), lambda path: read_audio(path, 8_000)),
    "MP3": Format(write_sound("a.mp3"), lambda path: read_audio(path, 8_000)),
    "pair manifest": Format(write_text("pairs.tsv", MANIFEST), read_pair_manifest),
    "plan of ablations": Format(write_text("plan.toml", PLAN), read_plan),
    "stage.json": Format(write_stage, lambda path: read_stage(path.parent)),
    "durations.json": Format(
        write_text("mean_durations.json", '{"means": [1.5, 2.0]}'), lambda path: MeanDurations.load(path.parent)
    ),
    "translation memory": Format(write_memory, lambda path: list(TranslationMemory.load(path))),
    "bundle.json": Format(write_bundle, lambda path: read_bundle_manifest(path.parent)),
    "molecule index": Format(write_index(MoleculeIndex), read_index(MoleculeIndex), sealed=True),
    "caption index": Format(write_index(CaptionIndex), read_index(CaptionIndex), sealed=True),
    "reply cache": Format(write_cache, read_cache),
    "journal": Format(write_journal, read_journal),
    "table, gzipped": Format(write_table, read_pairs),
    "table, streamed": Format(write_table, lambda path: list(read_rows(path))),
    "CSV": Format(write_text("t.csv", TABLE.replace("\t", ",")), lambda path: list(read_rows(path))),
    "SDF": Format(write_sdf, lambda path: list(read_rows(path))),
}


def sqlite_file() -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE other(x)")
    content: bytes = database.serialize()
    database.close()
    return content


FOREIGN = {
    "nothing": b"",
    "zeros": bytes(300),
    "a JSON object": b"{}",
    "a JSON list": b"[]",
    "JSON null": b"null",
    "a deep JSON list": b"[" * 60_000,
    "numbers that are none": b'{"format": 1e999, "version": NaN, "means": [Infinity]}',
    "a number of many digits": b'{"format": ' + b"9" * 6_000 + b"}",
    "UTF-16": "id\tsource_audio\n".encode("utf-16"),
    "tabs": b"\t\t\t\n\t\n",
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "an archive": b"PK\x03\x04" + bytes(60),
    "a gzipped nothing": gzip.compress(b"", mtime=0),
    "gzip, cut": gzip.compress(bytes(900), mtime=0)[:15],
    "a pickle": b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "safetensors that claim 2^62 bytes of header": struct.pack("<Q", 2**62) + b"{}",
    "safetensors that claim a tensor that is not there": struct.pack("<Q", 59)
    + b'{"a":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}'[:59],
    "another program's database": sqlite_file(),
    "a parquet file of nothing": b"PAR1" + bytes(8) + b"PAR1",
    "a WAV header": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0",
    "noise": bytes(random.Random(1).randbytes(2_000)),
}


def damage(content: bytes, cases: int) -> Iterator[tuple[str, bytes]]:
    """Every foreign content, and as many cuts, flipped bits, and zeroed and doubled stretches as asked for."""
    yield from FOREIGN.items()
    chance = random.Random(cases)
    for _ in range(cases):
        place = chance.randrange(len(content))
        yield f"cut to {place} bytes", content[:place]
        bit = chance.randrange(8)
        yield f"bit {bit} of byte {place} flipped", bytes(flip(content, place, bit))
        end = place + chance.randrange(1, 40)
        yield f"bytes {place} to {end} zeroed", content[:place] + bytes(len(content[place:end])) + content[end:]
        yield f"bytes {place} to {end} twice", content[:end] + content[place:]


def flip(content: bytes, place: int, bit: int) -> bytearray:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return changed


@pytest.mark.parametrize("cases", [12, pytest.param(400, marks=pytest.mark.faults)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, cases: int, tmp_path: Path) -> None:
    form = FORMATS[name]
    home = tmp_path / "good"
    home.mkdir()
    path = home / form.write(home)
    good = form.read(path)
    assert good is not None
    content = path.read_bytes()
    faults, refused = [], 0
    for label, changed in damage(content, cases):
        path.write_bytes(changed)
        try:
            found = form.read(path)
            if form.sealed and changed != content and str(found) != str(good):
                faults.append(f"{label}: read as something else")
        except INPUT_ERRORS as error:
            refused += 1
            if str(path.parent) not in str(error) and path.name not in str(error):
                faults.append(f"{label}: does not name the file: {str(error)[:200]}")
            if "\n" in str(error).strip() or len(str(error)) > 1_000:
                faults.append(f"{label}: not one line: {str(error)[:300]!r}")
        except Exception as error:
            faults.append(f"{label}: {type(error).__module__}.{type(error).__name__}: {str(error)[:150]}")
        for leftover in home.iterdir():
            if leftover.name.startswith(path.name) and leftover != path:
                leftover.unlink()
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:40])
    assert refused >= 3 or name == "SDF"  # whose records are refused one by one


@pytest.mark.parametrize("name", ["token shard", "extracted shard"])
def test_no_flipped_bit_of_a_shards_data_is_read_as_something_else(name: str, tmp_path: Path) -> None:
    form, chance = FORMATS[name], random.Random(0)
    path = tmp_path / form.write(tmp_path)
    good, content = form.read(path), path.read_bytes()
    parts = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
    refused = 0
    for number in range(parts.num_columns):
        part = parts.column(number)
        start = part.dictionary_page_offset or part.data_page_offset
        for _ in range(40):
            place = start + chance.randrange(part.total_compressed_size)
            path.write_bytes(flip(content, place, chance.randrange(8)))
            try:
                assert form.read(path) == good  # in the header of a page, a bit may have no meaning
            except INPUT_ERRORS:
                refused += 1
    assert refused >= 30 * parts.num_columns
