"""What a user has: recordings and a fairseq HuBERT checkpoint, here a tiny random one."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fairseq.data import Dictionary
    from fairseq.models.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    torch.manual_seed(11)
    config = HubertConfig(
        label_rate=50.0,
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=16,
        encoder_attention_heads=2,
        conv_feature_layers="[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        conv_pos=8,
        conv_pos_groups=2,
    )
    dictionary = Dictionary()
    model = HubertModel(config, HubertPretrainingConfig(label_rate=50.0), [dictionary])
    path = tmp_path_factory.mktemp("checkpoint") / "hubert.pt"
    options = {"model": {**asdict(config), "_name": "hubert"}, "task": {"sample_rate": 16_000, "normalize": False}}
    state = {"cfg": options, "model": model.state_dict(), "task_state": {"dictionaries": [dictionary]}}
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of different rate, format and number of channels: 0.8 s and 1.5 s of changing tones."""
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    paths = []
    for name, rate_hz, channels, duration_s in (("one.wav", 16_000, 1, 0.8), ("two.flac", 44_100, 2, 1.5)):
        time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
        steps = 200.0 + 150.0 * np.floor(6 * time_s)
        sound = 0.5 * np.sin(2 * np.pi * steps * time_s) + 0.01 * generator.normal(size=time_s.size)
        soundfile.write(folder / name, np.repeat(sound[:, None], channels, axis=1), rate_hz)
        paths.append(folder / name)
    return paths


ToyCorpus = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="session")
def write_toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> ToyCorpus:
    """Writes a manifest and its extracted folder: 20 training pairs (zh-en, en-es) of a language of eight words.

    Each word is three units in each language, spoken at its own speed, so that everything can be predicted. The names
    of encoder, k-means and codec may be given; there are 72 units at 50 Hz and two levels of 16 codes at 50 Hz.
    """
    from polyvoice.corpus.manifest import PairRow, write_manifest
    from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, write_extracted

    words = {
        "zh": ["你", "好", "吗", "我", "看", "书", "很", "大"],
        "en": ["you", "good", "what", "me", "see", "book", "very", "big"],
        "es": ["tú", "bueno", "qué", "yo", "ver", "libro", "muy", "grande"],
    }
    first_unit = {"zh": 0, "en": 24, "es": 48}

    def write(encoder: str = "toy encoder", kmeans: str = "toy kmeans", codec: str = "toy codec") -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("toy")
        chance = np.random.default_rng(5)
        rows, utterances = [], []
        for number in range(24):
            source, target = ("zh", "en") if number % 2 else ("en", "es")
            meaning = chance.permutation(8)[: 2 + number % 3]
            cells: dict[str, str] = {}
            for language in (source, target):
                units = [3 * int(word) + part + first_unit[language] for word in meaning for part in range(3)]
                frames = np.repeat(np.array(units, dtype=np.int64), 1 + (number + np.arange(len(units))) % 3)
                codes = np.stack([frames % 16, (frames + number) % 16])
                utterances.append(Extracted(f"{number}-{language}.wav", frames.size / 50, frames, codes))
                cells[language] = ("" if language == "zh" else " ").join(words[language][word] for word in meaning)
            audio = {language: folder / f"{number}-{language}.wav" for language in cells}
            split, spoken = ("train" if number < 20 else "dev"), (audio[source], source, cells[source])
            rows.append(PairRow(f"pair{number}", *spoken, audio[target], target, cells[target], "s1", split))
        write_manifest(folder / "pairs.tsv", rows)
        info = ExtractedInfo(UnitsInfo(encoder, kmeans, 72, 50.0), CodesInfo(codec, 2, 16, 50.0))
        write_extracted(folder / "extracted", info, utterances)
        return folder / "pairs.tsv", folder / "extracted"

    return write


@dataclass(frozen=True)
class ToyParts:
    """What a bundle needs beside its stages, and what these can be trained on."""

    encoder: Path
    kmeans: Path
    codec: Path
    manifest: Path
    extracted: Path


@pytest.fixture(scope="session")
def toy_parts(checkpoint: Path, write_toy_corpus: ToyCorpus, tmp_path_factory: pytest.TempPathFactory) -> ToyParts:
    """A random encoder (layer 2), random centroids, a random codec, and the toy corpus as if extracted with them."""
    from speechunits.codecs.speech_codec import load_speech_codec
    from speechunits.codecs.speech_codec.model import CodecModel
    from speechunits.codecs.speech_codec.settings import CodecSettings
    from speechunits.codecs.speech_codec.storage import write_codec
    from speechunits.encoders.load import load_encoder
    from speechunits.kmeans import KMeans, Provenance, save_kmeans

    home = tmp_path_factory.mktemp("parts")
    centroids = np.random.default_rng(0).normal(size=(72, 16)).astype(np.float32)
    kmeans = KMeans(centroids, Provenance("", 50.0, 100, 0, "test"))
    save_kmeans(kmeans, home / "kmeans.safetensors")
    small = CodecSettings(encoder_width=8, decoder_width=8, latent_width=4, levels=2, codebook_size=16, mel_bands=16)
    write_codec(home / "codec", CodecModel(small))
    identities = (load_encoder(str(checkpoint), 2).identity, kmeans.identity)
    corpus = write_toy_corpus(*identities, load_speech_codec(home / "codec").identity)
    return ToyParts(checkpoint, home / "kmeans.safetensors", home / "codec", *corpus)


@pytest.fixture(scope="session")
def toy_corpus(write_toy_corpus: ToyCorpus) -> tuple[Path, Path]:
    """A manifest and its extracted folder, for stages that need no audio."""
    return write_toy_corpus()


@pytest.fixture(scope="session")
def toy_bundle(toy_parts: ToyParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle (zh-en, en-zh, en-es, es-en) that has learned just enough to say something."""
    from polyvoice.cli.main import run

    home = tmp_path_factory.mktemp("bundle")
    course = ["--preset", "tiny", "--batch-rows", "2", "--micro-batch-rows", "2", "--device", "cpu", "--steps"]
    stages = {"translate": ["translate", "--text", "none"], "duration": ["duration"]}
    stages |= {name: ["synthesize", name] for name in ("first-level", "other-levels")}
    given = ["--encoder", str(toy_parts.encoder), "--layer", "2", "--kmeans", str(toy_parts.kmeans)]
    given += ["--codec", str(toy_parts.codec)]
    for name, words in stages.items():
        data = [str(toy_parts.manifest), str(toy_parts.extracted), str(home / name)]
        assert run(["train", *words, *data, *course, "60" if name == "translate" else "2"]) == 0
        given += [f"--{name}", str(home / name)]
    assert run(["bundle", "--out", str(home / "toy"), *given]) == 0
    return home / "toy"
