"""Bundles: packed from what a user's commands made, opened again, and refused where parts do not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from polyvoice import bundle
from polyvoice.bundle.manifest import resolve_inside
from polyvoice.bundle.shipped import shipped_recordings
from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.evaluation.judges import load_judges
from polyvoice.evaluation.recognizers import create_recognizer
from polyvoice.pipeline.settings import PipelineOptions
from polyvoice.pipeline.translator import SpeechTranslator
from polyvoice.stages.duration.decoding import DurationModel
from polyvoice.stages.stage_folder import read_stage
from polyvoice.stages.translate.decoding import UnitTranslator
from speechunits.audio import Waveform, read_audio
from speechunits.codecs.protocol import SoftCodes, SpokenBy, decode_softly
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.settings import CodecSettings
from speechunits.codecs.speech_codec.storage import read_codec, write_codec
from speechunits.extracted import UnitsInfo
from speechunits.kmeans import KMeans, Provenance, save_kmeans
from speechunits.runs import Runs, expand
from unitlm.checkpoint import load_model, save_model

TRAIN = ["--preset", "tiny", "--steps", "2", "--batch-rows", "2", "--micro-batch-rows", "2", "--device", "cpu"]
STAGES = {
    "translate": ["translate"],
    "duration": ["duration"],
    "first-level": ["synthesize", "first-level"],
    "other-levels": ["synthesize", "other-levels"],
}


@pytest.fixture(scope="module")
def parts(toy_parts: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What goes into a bundle, by the option of `polyvoice bundle`; the stages have learned next to nothing."""
    home = tmp_path_factory.mktemp("stages")
    for name, words in STAGES.items():
        data = [str(toy_parts.manifest), str(toy_parts.extracted), str(home / name)]
        assert run(["train", *words, *data, *TRAIN]) == 0
    runs = {name: home / name for name in STAGES}
    return {"encoder": toy_parts.encoder, "kmeans": toy_parts.kmeans, "codec": toy_parts.codec, **runs}


def command(parts: dict[str, Path], out: Path, *options: str) -> list[str]:
    given = [word for name, path in parts.items() for word in (f"--{name}", str(path))]
    return ["bundle", "--out", str(out), "--layer", "2", *given, *options]


@pytest.fixture(scope="module")
def packed(parts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("packed")
    (home / "scores.json").write_text('{"asr_bleu": {"value": 12.3456, "n": 60}}')
    (home / "about.md").write_text("## Data\n\nToy words.\n")
    options = ["--scores", str(home / "scores.json"), "--about", str(home / "about.md")]
    assert run(command(parts, home / "small", *options)) == 0
    return home / "small"


def test_a_bundle_holds_everything_and_says_what_it_is(packed: Path, parts: dict[str, Path]) -> None:
    opened = bundle.load(packed)
    manifest = opened.manifest
    assert (manifest.name, manifest.languages) == ("small", ("en", "es", "zh"))
    assert set(map(str, manifest.directions)) == {"zh-en", "en-zh", "en-es", "es-en"}
    assert manifest.stages["translate"].trained_on == read_stage(parts["translate"] / "model").trained_on
    assert opened.encoder.identity == manifest.units.encoder
    assert opened.kmeans.identity == manifest.units.kmeans
    assert opened.codec.identity == manifest.codes.codec
    card = (packed / "README.md").read_text()
    assert "en to es" in card
    assert "asr_bleu" in card
    assert "- asr_bleu: 12.35 (n 60)" in card
    assert "| first_level |" in card
    assert "## Data\n\nToy words.\n" in card
    svg = (packed / "curves.svg").read_text()
    assert all(stage in svg for stage in ("<svg", "first_level", "other_levels"))


def test_its_models_answer_as_the_stages_do(packed: Path, parts: dict[str, Path]) -> None:
    opened = bundle.load(packed)
    units = np.array([3, 4, 5, 9], dtype=np.int64)
    own, alone = opened.translator, UnitTranslator.load(parts["translate"] / "model")
    # Weights are stored in bf16, so scores agree to its three digits.
    pair = [model.translate(units, "zh", "en") for model in (own, alone)]
    assert pair[0].log_probability == pytest.approx(pair[1].log_probability, rel=0.05)
    runs = Runs(units, np.array([2, 1, 3, 1], dtype=np.int64))
    lengths = opened.duration.predict(runs, units, "zh", "en")
    assert lengths.shape == DurationModel.load(parts["duration"] / "model").predict(runs, units, "zh", "en").shape
    assert (opened.mean_durations.means > 0).all()
    prompt = np.zeros((2, 4), dtype=np.int64)
    spoken = opened.synthesizer.synthesize(units, prompt, np.repeat(units, 3), "zh", "en")
    assert spoken.codes.shape == (2, 12)
    assert decode_softly(opened.codec, spoken).samples.size > 0
    for stage in ("translate", "duration", "first_level", "other_levels"):
        assert next(load_model(packed / stage).parameters()).element_size() == 2


def test_its_maker_chooses_the_route_of_each_direction(
    parts: dict[str, Path], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(parts, tmp_path / "chained", "--chain", "zh-en")) == 0
    assert "By way of text" in (tmp_path / "chained" / "README.md").read_text()
    assert "By way of text" not in (packed / "README.md").read_text()
    opened = bundle.load(tmp_path / "chained")
    speech = read_audio(next(shipped_recordings().parent.glob("audio/*.flac")))

    def texts(target: str, **options: Any) -> list[bool]:
        pieces = SpeechTranslator(opened, PipelineOptions(**options)).pieces(
            speech, "zh" if target == "en" else "en", target
        )
        return [piece.translation.text_said is not None for piece in pieces]

    assert (texts("en"), texts("es")) == ([True], [False])
    assert (texts("en", route="direct"), texts("es", route="chain")) == ([False], [True])
    for way, reason in (("zh-es", "chain: zh-es is not one of"), ("zh", "is not written like 'zh-en'")):
        assert run(command(parts, tmp_path / "refused", "--chain", way)) == 2
        assert reason in capsys.readouterr().err


def test_samples_are_made_of_the_recordings_that_ship(packed: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    assert run(["samples", str(tmp_path / "page"), "--bundle", str(packed)]) == 0
    scores = json.loads((tmp_path / "page" / "evaluation" / "scores.json").read_text())
    assert scores["directions"].keys() == {"zh-en", "en-zh", "es-en", "en-es"}
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count('class="card sample"') == 24
    assert "It&#39;s twenty degrees in Mexico City." in page


def test_parts_are_read_only_when_they_are_asked_for(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "damaged")
    (tmp_path / "damaged" / "translate" / "vocabulary.json").write_text("{")
    opened = bundle.load(tmp_path / "damaged")
    assert opened.kmeans is opened.kmeans
    with pytest.raises(ValueError, match=r"vocabulary\.json"):
        _ = opened.translator


def test_sizes_are_printed(
    parts: dict[str, Path], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(command(parts, tmp_path / "whole", "--precision", "fp32", "--name", "Whole", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["stages"]["duration"]["trained_on"]["pairs"]) == ("Whole", 20)
    assert next(load_model(tmp_path / "whole" / "translate").parameters()).element_size() == 4
    half = sum(path.stat().st_size for path in (packed / "translate").glob("*.safetensors"))
    whole = sum(path.stat().st_size for path in (tmp_path / "whole" / "translate").glob("*.safetensors"))
    assert 1.8 < whole / half < 2.2
    assert run(command(parts, tmp_path / "half")) == 0
    assert "translate" in capsys.readouterr().out


def tell_units(codec: Path, units: UnitsInfo, out: Path) -> Path:
    """The same codec with a decoder that may be told units."""
    base = read_codec(codec)
    model = CodecModel(base.settings.guided_by(units.clusters), units)
    model.load_state_dict(base.state_dict(), strict=False)
    write_codec(out, model)
    return out


def test_a_decoder_that_is_told_units_needs_few_codes_or_none(
    parts: dict[str, Path], toy_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = bundle.load(toy_bundle).manifest.units
    first = {name: path for name, path in parts.items() if name != "other-levels"}
    first["translate"] = toy_bundle.parent / "translate"  # has learned to say something
    first["codec"] = tell_units(parts["codec"], units, tmp_path / "codec")
    assert run(command(first, tmp_path / "told")) == 0
    opened = bundle.load(tmp_path / "told")
    assert "other_levels" not in opened.manifest.stages
    speech = read_audio(next(shipped_recordings().parent.glob("audio/*.flac")))
    heard: list[tuple[SoftCodes, SpokenBy]] = []
    decode = opened.codec.decode_told  # type: ignore[attr-defined]

    def listen(codes: SoftCodes, spoken: SpokenBy) -> Waveform:
        heard.append((codes, spoken))
        return cast(Waveform, decode(codes, spoken))

    opened.codec.decode_told = listen  # type: ignore[attr-defined]
    translator = SpeechTranslator(opened, PipelineOptions(best_of=1, first_level="mean"))
    said = next(piece for piece in translator.pieces(speech, "en", "zh") if piece.waveform is not None)
    [(codes, spoken), *_] = heard
    assert codes.codes.shape == (1, said.runs.lengths.sum())
    assert codes.chances.shape[:2] == codes.codes.shape
    np.testing.assert_array_equal(spoken.units, expand(said.runs))
    np.testing.assert_array_equal(spoken.prompt, translator.hear_voice(speech, "en").codes)
    assert "first_level mean" in translator.identity
    # Told what is said and in whose voice, the decoder needs no codes, unless some are asked for.
    without = SpeechTranslator(opened, PipelineOptions())
    assert "first_level none" in without.identity
    spoken_by = SpokenBy(expand(said.runs), translator.hear_voice(speech, "en").codes)
    pieces = without.pieces(speech, "en", "zh")
    sound = next(piece.waveform for piece in pieces if piece.waveform is not None)
    np.testing.assert_array_equal(sound.samples, opened.codec.say(spoken_by).samples)  # type: ignore[attr-defined]
    assert sound.samples.size == said.runs.lengths.sum() * 320
    assert "other_levels none" in translator.identity
    as_drawn = SpeechTranslator(opened, PipelineOptions(best_of=1, first_level="drawn"))
    list(as_drawn.pieces(speech, "en", "zh"))
    assert len(heard[-1][0].chances) == 0
    with pytest.raises(InputError, match="is told nothing, so that it needs codes"):
        SpeechTranslator(bundle.load(toy_bundle), PipelineOptions(first_level="none")).warm_up()
    with pytest.raises(InputError, match="there is no model of the others"):
        SpeechTranslator(opened, PipelineOptions(other_levels="best")).warm_up()
    # What a decoder was told in training is what it has to be told.
    first["codec"] = tell_units(parts["codec"], replace(units, kmeans="sha256:0"), tmp_path / "other")
    capsys.readouterr()
    assert run(command(first, tmp_path / "strange")) == 2
    assert "decoder is told units that are not its stages'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("encoder", "the encoder is"),
        ("kmeans", "the k-means is"),
        ("codec", "the codec is"),
        ("translate", "duration: its units have kmeans"),
        ("first-level", "other_levels: its codes are of"),
        ("duration", "duration: does not know 'es'"),
        ("other-levels", "there is no stage other_levels"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(
    part: str, words: str, parts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    changed = {name: path for name, path in parts.items() if (part, name) != ("other-levels", "other-levels")}
    options: list[str] = []
    if part == "encoder":
        options = ["--layer", "1"]
    elif part == "kmeans":
        changed["kmeans"] = tmp_path / "kmeans.safetensors"
        other = KMeans(np.ones((72, 16), dtype=np.float32), Provenance("", 50.0, 100, 0, "test"))
        save_kmeans(other, changed["kmeans"])
    elif part == "codec":
        changed["codec"] = tmp_path / "codec"
        widths = {"encoder_width": 8, "decoder_width": 8, "latent_width": 4, "mel_bands": 16}
        write_codec(changed["codec"], CodecModel(CodecSettings(**widths, levels=3, codebook_size=16)))
    elif part != "other-levels":
        changed[part] = tmp_path / part
        shutil.copytree(parts[part] / "model", changed[part])
        path = changed[part] / "stage.json"
        card = json.loads(path.read_text())
        if part == "translate":
            card["units"]["kmeans"] = "sha256:0"
        elif part == "first-level":
            card["codes"]["codec"] = "another codec"
        else:
            card["directions"] = ["zh-en"]
        path.write_text(json.dumps(card))
    assert run(command(changed, tmp_path / "out", *options)) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert words in errors
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten_and_nothing_half_is_left(
    parts: dict[str, Path], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(parts, packed)) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(command({**parts, "duration": tmp_path}, tmp_path / "out")) == 2
    assert "not a finished stage" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "not of format"),
        ({"version": 2}, "version 2, this program reads version 1"),
        ({"kmeans": "../kmeans.safetensors"}, "leads out of the bundle"),
        ({"kmeans": "/etc/hostname"}, "leads out of the bundle"),
        ({"kmeans": "link"}, "leads out of the bundle"),
        ({"encoder": {"path": "..", "layer": 2}}, "leads out of the bundle"),
        ({"encoder": {"path": "encoder.pt", "layer": "two"}}, "must be int"),
        ({"codec": {"name": None, "path": "absent"}}, "absent is missing"),
        ({"directions": ["zh"]}, "direction 'zh'"),
        ({"stages": {}}, "stage 'translate' is missing"),
    ],
)
def test_a_bundle_from_elsewhere_is_not_trusted(
    change: dict[str, object], words: str, packed: Path, tmp_path: Path
) -> None:
    shutil.copytree(packed, tmp_path / "bundle")
    (tmp_path / "kmeans.safetensors").write_bytes(b"")
    (tmp_path / "bundle" / "link").symlink_to(tmp_path / "kmeans.safetensors")
    path = tmp_path / "bundle" / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=words):
        bundle.load(tmp_path / "bundle")


def test_sizes_from_elsewhere_are_whole_numbers(packed: Path, tmp_path: Path) -> None:
    for number, (file, keys) in enumerate((("bundle.json", ("stages", "duration")), ("duration/stage.json", ()))):
        folder = tmp_path / str(number)
        shutil.copytree(packed, folder)
        values = inner = json.loads((folder / file).read_text())
        for key in keys:
            inner = inner[key]
        inner["parameters"] = "1.5"
        (folder / file).write_text(json.dumps(values))
        with pytest.raises(InputError, match=r"parameters must be a whole number, found '1\.5'"):
            _ = bundle.load(folder).duration


def test_other_weights_under_the_same_name_are_noticed(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "bundle")
    save_kmeans(
        KMeans(np.ones((72, 16), dtype=np.float32), Provenance("", 50.0, 1, 0, "")),
        tmp_path / "bundle" / "kmeans.safetensors",
    )
    with pytest.raises(InputError, match="the k-means is sha256"):
        _ = bundle.load(tmp_path / "bundle").kmeans
    with pytest.raises(InputError, match="not a bundle"):
        bundle.load(tmp_path)


def test_a_bundle_is_named_by_all_that_it_holds(packed: Path, tmp_path: Path) -> None:
    """An evaluation goes on with what the same system said; other weights under the same manifest are another."""
    copy = Path(shutil.copytree(packed, tmp_path / "bundle"))
    identities = [SpeechTranslator(bundle.load(folder)).identity for folder in (packed, copy)]
    assert identities[0] == identities[1]
    (copy / "notes.txt").write_text("What else lies there, such as an evaluation, is no part of it.")
    assert SpeechTranslator(bundle.load(copy)).identity == identities[0]
    model = load_model(copy / "translate")
    with torch.no_grad():
        model.embedding.weight[0, 0] += 1.0
    save_model(copy / "translate", model)
    assert SpeechTranslator(bundle.load(copy)).identity != identities[0]


def test_a_bundle_recognises_what_it_has_learned(packed: Path) -> None:
    recognizer = create_recognizer(f"en=bundle:{packed}")
    assert list(recognizer.versions.values()) == [bundle.load(packed).digest]
    with pytest.raises(InputError, match="has not learned to recognise fr"):
        create_recognizer(f"fr=bundle:{packed}")
    with pytest.raises(InputError, match="2 recognisers of en are called bundle"):
        load_judges([f"en=bundle:{packed}"] * 2, ["en"], skip=("speaker_similarity", "mos", "dnsmos"))


def test_a_bundle_may_be_reached_by_a_link(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(packed)
    assert resolve_inside(tmp_path / "link", "kmeans.safetensors") == packed.resolve() / "kmeans.safetensors"
    assert replace(bundle.load(tmp_path / "link"), device="cpu").kmeans.centroids.shape == (72, 16)
