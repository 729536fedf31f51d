"""Cutting long recordings: pieces say the words that are theirs, told from lengths alone."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvoice.cli.main import run
from polyvoice.corpus.alignment import align_clauses, count_letters, split_clauses
from polyvoice.corpus.manifest import read_manifest
from speechunits.audio import Waveform, read_audio, write_wav
from speechunits.segments import Segment, find_sound

RATE_HZ = 16_000
LETTERS_A_SECOND = 14.0

clauses = st.lists(st.tuples(st.integers(8, 60), st.sampled_from(".,;?")), min_size=2, max_size=8)


def speak(text, pace=LETTERS_A_SECOND, pause_s=0.5, seed=0):
    """A tone for each clause, as long as it takes to say it, and where each begins."""
    noise = np.random.default_rng(seed)
    parts, starts, at = [], [], 0
    for clause in split_clauses(text):
        size = round(count_letters(clause) / pace * RATE_HZ)
        starts.append(at / RATE_HZ)
        parts += [0.3 * np.sin(np.arange(size) / 5), np.zeros(round(pause_s * RATE_HZ))]
        at += size + parts[-1].size
    samples = np.concatenate(parts[:-1])
    return Waveform((samples + 1e-4 * noise.standard_normal(samples.size)).astype(np.float32), RATE_HZ), starts


@given(clauses=clauses, breaths=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_each_piece_gets_its_own_words_whatever_the_rate(clauses, breaths, data):
    texts = [f"{'abcdefgh'[number] * length}{sign}" for number, (length, sign) in enumerate(clauses)]
    speech, at, expected = [], 0.0, {}
    pace = data.draw(st.floats(8, 25))
    for text in texts:
        length_s = count_letters(text) / pace * data.draw(st.floats(0.9, 1.1))
        expected[round(at, 6)] = text
        if breaths:
            speech += [Segment(at, at + 0.4 * length_s), Segment(at + 0.4 * length_s + 0.05, at + length_s)]
        else:
            speech.append(Segment(at, at + length_s))
        at += length_s + data.draw(st.floats(0.5, 0.9))
    pieces = align_clauses(speech, " ".join(texts), longest_s=3.0)
    assert " ".join(piece.text for piece in pieces) == " ".join(texts)
    assert (pieces[0].start_s, pieces[-1].stop_s) == (speech[0].start_s, speech[-1].stop_s)
    assert all(before.stop_s < after.start_s for before, after in pairwise(pieces))
    # Where one also pauses within clauses, lengths alone may err.
    assert breaths or all(piece.text.startswith(expected[round(piece.start_s, 6)]) for piece in pieces)


def test_what_is_too_long_is_cut_at_commas_and_what_is_not_stays_whole():
    text = "Press one to hear it, two to send it, or three to forget it. Goodbye."
    speech, starts = find_sound(speak(text)[0]), speak(text)[1]
    one_a_clause = align_clauses(speech, text, longest_s=1.0)
    assert [piece.text for piece in one_a_clause] == split_clauses(text)
    assert [piece.start_s for piece in one_a_clause] == pytest.approx(starts, abs=0.03)
    assert all(0.9 < piece.times < 1.1 for piece in one_a_clause)
    hurried = find_sound(speak(text, pause_s=0.2)[0])
    assert [piece.text for piece in align_clauses(hurried, text, longest_s=9.0)] == [text]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One, two. 3.5 is 3,500?", ["One,", "two.", "3.5 is 3,500?"]),
        ("你好，世界。再见！", ["你好，", "世界。", "再见！"]),
        ("... ¿Qué tal? -- Bien", ["¿Qué tal?", "-- Bien"]),
    ],
)
def test_clauses_end_where_one_pauses(text, parts):
    assert split_clauses(text) == parts


def test_silence_and_clicks_are_no_sound():
    silence = np.zeros(RATE_HZ, np.float32)
    assert find_sound(Waveform(silence[:1], RATE_HZ)) == ()
    click = silence.copy()
    click[8_000:8_160] = 0.5
    tone = np.sin(np.arange(RATE_HZ) / 5).astype(np.float32)
    [found] = find_sound(Waveform(np.concatenate((click, tone, silence)), RATE_HZ))
    assert (found.start_s, found.stop_s) == pytest.approx((1.0, 2.0), abs=0.03)
    breath = silence[: RATE_HZ // 10]
    assert len(find_sound(Waveform(np.concatenate((tone, breath, tone)), RATE_HZ))) == 1


@pytest.fixture
def corpus(tmp_path):
    """A long row whose sides have other clauses, one that is short, and one without text."""
    english = "Please enter the number of the room. You may leave at any time, by pressing the key."
    chinese = "请输入房间的号码，然后请您按下井号键。您也可以在任何时间离开这个地方。"
    lines = ["id\tsource_audio\tsource_lang\tsource_text\ttarget_audio\ttarget_lang\ttarget_text\tspeaker\tsplit"]
    for key, source, target, split in (
        ("long", english, chinese, "train"),
        ("short", "Hello. Goodbye.", "", "train"),
        ("held", english, "", "test"),
    ):
        write_wav(tmp_path / f"{key}.en.wav", speak(source)[0])
        if target:
            write_wav(tmp_path / f"{key}.zh.wav", speak(target, pace=4.0)[0])
        audio = f"{key}.zh.wav" if target else ""
        lines.append(f"{key}\t{key}.en.wav\ten\t{source}\t{audio}\tzh\t{target}\tann\t{split}")
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_both_sides_of_a_manifest_become_pieces_to_be_recognised(corpus, tmp_path, capsys):
    out = tmp_path / "cut"
    command = ["corpus", "cut", str(corpus), "--out", str(out), "--wanted-s", "2", "--workers", "1"]
    assert run(command) == 0
    assert capsys.readouterr().out == f"{out / 'pairs.tsv'}: 9 pieces of 3 recordings\n"
    rows = {row.id: row for row in read_manifest(out / "pairs.tsv")}
    assert [rows[f"long#{number}.en"].source_text for number in (1, 2, 3)] == [
        "Please enter the number of the room.",
        "You may leave at any time,",
        "by pressing the key.",
    ]
    assert rows["long#1.zh"].source_text == "请输入房间的号码，"
    assert {key: row.split for key, row in rows.items() if row.split != "train"} == {
        f"held#{number}.en": "test" for number in (1, 2, 3)
    }
    for row in rows.values():
        assert (row.target_text, row.target_audio, row.speaker) == (None, None, "ann")
        assert row.target_lang == {"en": "zh", "zh": "en"}[row.source_lang]
        pace = {"en": LETTERS_A_SECOND, "zh": 4.0}[row.source_lang]
        expected_s = count_letters(row.source_text) / pace
        assert read_audio(row.source_audio).duration_s == pytest.approx(expected_s + 0.12, abs=0.1)
    before = (out / "pairs.tsv").read_bytes()
    assert run(command) == 0
    assert (out / "pairs.tsv").read_bytes() == before
    assert run([*command, "--longest-s", "5"]) == 2
    assert re.fullmatch(r"polyvoice: .*cut\.json: this folder was begun with other .*\n", capsys.readouterr().err)


def test_what_cannot_be_cut_is_said(corpus, tmp_path, capsys):
    command = ["corpus", "cut", str(corpus), "--out", str(tmp_path / "cut"), "--workers", "1"]
    assert run([*command, "--above-s", "60"]) == 2
    assert "no recording above 60 s can be cut" in capsys.readouterr().err
    assert run([*command, "--surest", "1"]) == 2
    assert "surest" in capsys.readouterr().err
