"""Sentence pairs of Tatoeba, in both layouts, filtered and split."""

from importlib.util import find_spec

import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.splits import Shares, count_words
from polyvoice.corpus.tatoeba import TatoebaSettings, read_tatoeba

AS_IT_IS = TatoebaSettings(simplify=False)


def test_both_layouts_give_the_same_rows(tmp_path):
    table, export = tmp_path / "table.tsv", tmp_path / "export.tsv"
    table.write_text("en\tzh\ttatoeba_en\ttatoeba_zh\nHi.\t嗨。\t538123\t891077\nRun.\t跑。\t4008918\t3748344\n")
    export.write_text("538123\tHi.\t891077\t嗨。\n4008918\tRun.\t3748344\t跑。\n")
    rows = read_tatoeba(table, AS_IT_IS, Shares())
    assert rows == read_tatoeba(export, AS_IT_IS, Shares())
    assert [(row.id, row.source_text, row.target_text) for row in rows] == [
        ("tatoeba-538123-891077", "Hi.", "嗨。"),
        ("tatoeba-4008918-3748344", "Run.", "跑。"),
    ]
    assert {(row.source_lang, row.target_lang, row.source_audio) for row in rows} == {("en", "zh", None)}


@pytest.mark.parametrize(
    ("text", "words"),
    [("Where's the station?", 4), ("火车站在哪里？", 3), ("Tom喜欢我。", 3), ("...", 0), ("¡Hola!", 1)],
)
def test_words_are_counted_where_there_are_no_spaces_too(text, words):
    assert count_words(text) == words


def test_what_is_long_has_digits_or_was_there_is_left_out(tmp_path):
    path = tmp_path / "pairs.tsv"
    lines = [
        "1\tOne two three four.\t2\t一二三四。",
        "3\tOne two three four five.\t4\t一二。",
        "5\tIt is 5 now.\t6\t五点。",
        "7\tone two, three four!\t8\t一二三四",
        "9\tFive.\t10\t一二三四五六七八九。",
    ]
    path.write_text("\n".join(lines) + "\n")
    short = TatoebaSettings(longest=4, simplify=False)
    assert [row.id for row in read_tatoeba(path, short, Shares())] == ["tatoeba-1-2"]
    everything = TatoebaSettings(longest=0, keep_numbers=True, simplify=False)
    assert [row.id for row in read_tatoeba(path, everything, Shares())] == [
        "tatoeba-1-2",
        "tatoeba-3-4",
        "tatoeba-5-6",
        "tatoeba-9-10",
    ]


@pytest.mark.skipif(find_spec("opencc") is None, reason="needs opencc")
def test_chinese_becomes_simplified_and_then_the_same_pair_is_left_out(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("1\tLook.\t2\t讓我們看看吧。\n1\tLook.\t3\t让我们看看吧。\n")
    [row] = read_tatoeba(path, TatoebaSettings(), Shares())
    assert (row.id, row.target_text) == ("tatoeba-1-2", "让我们看看吧。")


def test_no_sentence_is_on_two_sides(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{n}\tsentence {chr(97 + n % 26)}{n // 3}\t{n}\t句{n // 2}\n" for n in range(300)))
    rows = read_tatoeba(path, TatoebaSettings(keep_numbers=True, simplify=False), Shares(dev=0.1, test=0.2))
    side: dict[str, str] = {}
    for row in rows:
        for text in (row.source_text, row.target_text):
            assert side.setdefault(text, row.split) == row.split
    assert set(side.values()) == {"train", "dev", "test"}


def test_the_command_writes_a_manifest_that_can_be_spoken(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("1\tHola.\t2\tHello.\n")
    out = tmp_path / "texts.tsv"
    command = ["corpus", "tatoeba", str(tmp_path / "pairs.tsv"), "--out", str(out), "--from", "es", "--to", "en"]
    assert run(command) == 0
    assert "1 pairs" in capsys.readouterr().out
    [row] = read_manifest(out)
    assert (row.source_lang, row.source_text, row.target_text) == ("es", "Hola.", "Hello.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("Hi.\t嗨。\n", "line 1: neither id, sentence, id, translation nor a header"),
        ("1\tHi.\t2\t嗨。\n3\tRun.\n", "line 2: 4 columns expected, 2 found"),
        ("1\t5!\t2\t五。\n", "no pair of sentences is left"),
        ("en\tzh\nHi.\t嗨。\n", "no column 'tatoeba_en'"),
    ],
)
def test_bad_files_are_one_line_and_status_2(content, message, tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text(content)
    command = ["corpus", "tatoeba", str(tmp_path / "pairs.tsv"), "--out", str(tmp_path / "o.tsv"), "--no-simplify"]
    assert run(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
