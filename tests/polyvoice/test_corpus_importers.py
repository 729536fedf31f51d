"""Importers of published corpora, on small folders of their layouts."""

import numpy as np
import pytest
import soundfile

from polyvoice.cli.main import run
from polyvoice.corpus.importers.layout import plain_code
from polyvoice.corpus.manifest import read_manifest


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160), 16_000, format="WAV")


def table(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(cells) + "\n" for cells in lines))


@pytest.fixture
def common_voice(tmp_path):
    folder = tmp_path / "cv/es"
    clips = [(f"speaker-{n}", f"common_voice_es_{n}.mp3", f'Frase {n} \\"sí\\".', "2", "0") for n in range(1, 5)]
    table(folder / "validated.tsv", ("client_id", "path", "sentence", "up_votes", "down_votes"), *clips)
    for number in (1, 2, 3):
        sound(folder / f"clips/common_voice_es_{number}.mp3")
    return folder


@pytest.mark.parametrize("same_voice", [False, True])
def test_cvss(common_voice, same_voice, tmp_path, capsys):
    folder = tmp_path / "cvss_t_es_en_v1.0"
    table(folder / "train.tsv", ("common_voice_es_1.mp3", "phrase one"), ("common_voice_es_4.mp3", "no clip"))
    table(folder / "test.tsv", ("common_voice_es_2.mp3", "phrase two"), ("common_voice_es_3.mp3", "no translation"))
    sound(folder / "train/common_voice_es_1.mp3.wav")
    sound(folder / "train/common_voice_es_4.mp3.wav")
    sound(folder / "test/common_voice_es_2.mp3.wav")
    out = tmp_path / "pairs.tsv"
    options = ["--same-voice"] if same_voice else []
    command = ["corpus", "cvss", str(folder), "--common-voice", str(common_voice), "--from", "es", "--out", str(out)]
    assert run([*command, *options]) == 0
    assert "2 pairs (train 1, test 1); audio of 2 rows is not there" in capsys.readouterr().out
    first, second = read_manifest(out)
    assert (first.id, first.source_lang, first.target_lang, first.split) == ("common_voice_es_1", "es", "en", "train")
    assert (first.source_text, first.target_text) == ('Frase 1 "sí".', "phrase one")
    assert first.source_audio == common_voice / "clips/common_voice_es_1.mp3"
    assert first.target_audio == folder / "train/common_voice_es_1.mp3.wav"
    assert first.speaker == ("speaker-1" if same_voice else None)
    assert (second.id, second.split) == ("common_voice_es_2", "test")


def test_covost2_as_published_and_as_prepared(common_voice, tmp_path):
    published, prepared = tmp_path / "published", tmp_path / "prepared"
    table(
        published / "covost_v2.es_en.tsv",
        ("path", "translation", "split"),
        ("common_voice_es_1.mp3", "one", "train"),
        ("common_voice_es_2.mp3", "two", "train_covost"),
        ("common_voice_es_3.mp3", "three", "test"),
        ("common_voice_es_3.mp3", "unused", "dev_covost"),
        ("common_voice_es_9.mp3", "not validated", "train"),
    )
    header = ("path", "sentence", "translation", "client_id")
    rows = [(f"common_voice_es_{n}.mp3", f"Frase {n} \\\"sí\\\".", word, f"speaker-{n}") for n, word in
            ((1, "one"), (2, "two"), (3, "three"))]  # fmt: skip
    table(prepared / "covost_v2.es_en.train.tsv", header, *rows[:2])
    table(prepared / "covost_v2.es_en.test.tsv", header, rows[2])
    manifests = []
    for folder in (published, prepared):
        out = folder / "pairs.tsv"
        command = ["corpus", "covost2", str(folder), "--common-voice", str(common_voice), "--from", "es"]
        assert run([*command, "--out", str(out)]) == 0
        manifests.append(read_manifest(out))
    assert manifests[0] == manifests[1]
    assert [(row.id, row.source_text, row.target_text, row.target_audio, row.split) for row in manifests[0]] == [
        ("common_voice_es_1.en", 'Frase 1 "sí".', "one", None, "train"),
        ("common_voice_es_2.en", 'Frase 2 "sí".', "two", None, "train"),
        ("common_voice_es_3.en", 'Frase 3 "sí".', "three", None, "test"),
    ]


@pytest.mark.parametrize("audio", ["audio/", ""])
def test_fleurs_pairs_readings_of_a_sentence(audio, tmp_path):
    def language(name, *readings):
        lines = [
            (str(n), f"{file}.wav", f"Text {n}!", f"text {n}", "t e", "160", gender) for n, file, gender in readings
        ]
        table(tmp_path / name / "train.tsv", *lines)
        for _, file, _ in readings:
            sound(tmp_path / name / f"{audio}train/{file}.wav")

    language("en_us", (1, "e1", "MALE"), (1, "e2", "FEMALE"), (2, "e3", "MALE"), (7, "e4", "MALE"))
    language("cmn_hans_cn", (2, "z1", "FEMALE"), (1, "z2", "FEMALE"), (1, "z3", "MALE"))
    out = tmp_path / "pairs.tsv"
    assert run(["corpus", "fleurs", str(tmp_path), "--from", "cmn_hans_cn", "--out", str(out)]) == 0
    rows = read_manifest(out)
    assert [(row.source_audio.stem, row.target_audio.stem) for row in rows] == [
        ("z1", "e3"),
        ("z2", "e2"),
        ("z3", "e1"),
    ]
    assert {(row.source_lang, row.target_lang, row.split, row.speaker) for row in rows} == {("zh", "en", "train", None)}
    assert rows[0].source_text == "Text 2!"


def test_gigas2s(tmp_path):
    table(
        tmp_path / "train.tsv",
        ("id", "src_text", "tgt_text"),
        ("AUD1_S1", "HELLO <COMMA> WORLD <PERIOD>", "你好，世界。"),
        ("POD2_S2", "YES <QUESTIONMARK>", "是吗？"),
        ("YOU3_S3", "GONE", "没了"),
    )
    for path in ("zh/0/AUD1_S1.wav", "zh/1/POD2_S2_ZH.wav", "en/AUD1_S1.wav", "en/x/POD2_S2_EN.wav", "en/YOU3_S3.wav"):
        sound(tmp_path / path)
    out = tmp_path / "pairs.tsv"
    options = ["--target-audio", str(tmp_path / "zh"), "--source-audio", str(tmp_path / "en"), "--out", str(out)]
    assert run(["corpus", "gigas2s", str(tmp_path / "train.tsv"), *options]) == 0
    first, second = read_manifest(out)
    assert (first.source_text, first.target_text, first.source_lang) == ("HELLO, WORLD.", "你好，世界。", "en")
    assert second.source_audio == tmp_path / "en/x/POD2_S2_EN.wav"
    assert second.target_audio == tmp_path / "zh/1/POD2_S2_ZH.wav"


@pytest.mark.parametrize(("code", "plain"), [("zh-CN", "zh"), ("cmn_hans_cn", "zh"), ("es_419", "es"), ("sv-SE", "sv")])
def test_regions_are_dropped(code, plain):
    assert plain_code(code) == plain


def test_wrong_folders_are_one_line_and_status_2(common_voice, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    table(empty / "train.tsv", ("id", "src_text", "tgt_text"), ("a", "b", "c"))
    out = ["--out", str(tmp_path / "o.tsv")]
    voice = ["--common-voice", str(common_voice), "--from", "es"]
    table(tmp_path / "cvss/train.tsv", ("common_voice_es_1.mp3", "no audio"))
    for command, message in (
        (["cvss", str(common_voice), *voice], "none of train.tsv, dev.tsv, test.tsv is there"),
        (["cvss", str(tmp_path / "cvss"), *voice], "no row is left; of 1, an audio file is not there"),
        (["covost2", str(empty), *voice], "neither covost_v2.es_en.tsv nor covost_v2.es_en.train.tsv is there"),
        (["fleurs", str(empty), "--from", "es_419"], "es_419: no such folder"),
        (["gigas2s", str(empty / "train.tsv"), "--target-audio", "x", "--source-audio", "x"], "no row is left"),
    ):
        assert run(["corpus", *command, *out]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
