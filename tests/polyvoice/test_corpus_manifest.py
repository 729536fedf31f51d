"""The pair manifest: what is written is read again, and what is wrong is refused with file and line."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.corpus.manifest import COLUMNS, PairRow, read_manifest, write_manifest
from polyvoice.errors import InputError

ROW = PairRow("a", Path("/corpus/a.zh.flac"), "zh", "你好。", Path("/corpus/a.en.flac"), "en", "Hello.", "zoe", "train")

cell = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text == text.strip() and not text.startswith("\ufeff")
)
name = st.from_regex(r"[a-z0-9_\-]{1,8}(/[a-z0-9 ñ你]{1,6}x)?\.flac", fullmatch=True)


@given(
    rows=st.lists(st.tuples(cell, name, cell, st.none() | name, st.none() | cell, st.none() | cell), min_size=1),
    split=st.sampled_from(["train", "dev", "test"]),
)
def test_rows_survive_writing_and_reading(rows, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifest")
    written = [
        PairRow(
            f"{number}-{text}", folder / audio, "zh", text, folder / target if target else None, "en", said, who, split
        )
        for number, (text, audio, _, target, said, who) in enumerate(rows)
    ]
    write_manifest(folder / "pairs.tsv", written)
    assert read_manifest(folder / "pairs.tsv") == written


def test_a_corpus_can_be_moved(tmp_path):
    (tmp_path / "first").mkdir()
    write_manifest(tmp_path / "first/pairs.tsv", [replace(ROW, source_audio=tmp_path / "first/audio/a.flac")])
    (tmp_path / "first").rename(tmp_path / "second")
    [row] = read_manifest(tmp_path / "second/pairs.tsv")
    assert row.source_audio == tmp_path / "second/audio/a.flac"


def test_relative_manifest_gives_absolute_paths(tmp_path, monkeypatch):
    write_manifest(tmp_path / "pairs.tsv", [replace(ROW, source_audio=tmp_path / "a.flac")])
    monkeypatch.chdir(tmp_path)
    [row] = read_manifest(Path("pairs.tsv"))
    assert row.source_audio == tmp_path / "a.flac"


def test_evaluation_manifest_needs_four_columns_and_is_test(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("target_lang\tid\tsource_audio\tsource_lang\tnote\r\nen\ta\ta.wav\tzh\tmine\r\n")
    assert read_manifest(path) == [PairRow("a", tmp_path / "a.wav", "zh", None, None, "en", None, None, "test")]


HEADER = "\t".join(COLUMNS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (f"{HEADER}\n", "the manifest has no rows"),
        ("id\tsource_audio\tsource_lang\n", "no column 'target_lang'"),
        (f"{HEADER}\na\tb.wav\tzh\n", "line 2: 9 columns expected, 3 found"),
        (f"{HEADER}\n\na\t\tzh\t\t\ten\t\t\ttrain\n", "line 3: the source has neither audio nor text"),
        (f"{HEADER}\na\tb.wav\tChinese\t\t\ten\t\t\ttrain\n", "line 2: language 'Chinese' is not a code"),
        (f"{HEADER}\na\tb.wav\tzh\t\t\ten\t\t\tvalid\n", "line 2: split 'valid' is none of train, dev, test"),
        (f"{HEADER}\na\tb.wav\tzh\t\t\ten\t\t\t\n", "line 2: split '' is none of"),
        (f"{HEADER}\n\tb.wav\tzh\t\t\ten\t\t\ttrain\n", "line 2: the id is empty"),
        (f"{HEADER}\n" + "a\tb.wav\tzh\t\t\ten\t\t\ttrain\n" * 2, "line 3: id 'a' is already on line 2"),
    ],
)
def test_wrong_manifests_are_refused_with_file_and_line(content, message, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_what_is_not_utf8_or_not_there_is_refused(tmp_path):
    (tmp_path / "latin.tsv").write_bytes(HEADER.encode() + b"\na\xf1o\n")
    with pytest.raises(InputError, match=r"latin\.tsv, line 2: not UTF-8"):
        read_manifest(tmp_path / "latin.tsv")
    with pytest.raises(InputError, match="no such file"):
        read_manifest(tmp_path / "nothing.tsv")


def test_writing_refuses_what_could_not_be_read_again(tmp_path):
    with pytest.raises(InputError, match="two rows have the id 'a'"):
        write_manifest(tmp_path / "pairs.tsv", [ROW, ROW])
    with pytest.raises(InputError, match="tab"):
        write_manifest(tmp_path / "pairs.tsv", [replace(ROW, source_audio=tmp_path / "a\tb.wav")])
    with pytest.raises(InputError, match="line break"):
        replace(ROW, source_text="two\nlines")
    assert not (tmp_path / "pairs.tsv").exists()
