"""Asterisk's prompts: packages as Debian unpacks them, made here with G.722 of tones."""

import gzip

import numpy as np
import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.asterisk import read_g722, read_test_ids
from polyvoice.corpus.manifest import read_manifest
from polyvoice.errors import InputError
from speechunits.audio import read_audio

av = pytest.importorskip("av")

ENGLISH = """; Core Asterisk Sounds in English

activated: Activated.
agent-loggedoff: Agent Logged off.
logged-off-too: agent logged off!
letters/plus: plus [+]
beep: [this is a simple beep tone]
activated: twice
only-english: Only here.
dir-welcome:
"""
SPANISH = """agent-loggedoff: Agente desconectado
activated: Activado [ahora] ya.
logged-off-too: Desconectado
letters/plus: más
beep: [tono simple]
"""


def write_g722(path, frequency_hz):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 8_000 * np.sin(2 * np.pi * frequency_hz * np.arange(4_800) / 16_000)
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.fixture
def unpacked(tmp_path):
    folder = tmp_path / "unpacked/usr/share"
    for language, voice, text in (("en", "en_US_f_Allison", ENGLISH), ("es", "es_MX_f_Allison", SPANISH)):
        document = folder / f"doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
        document.parent.mkdir(parents=True)
        document.write_bytes(gzip.compress(text.encode()))
        keys = ["activated", "agent-loggedoff", "logged-off-too", "letters/plus", "beep", "silence/1", "untold"]
        for number, key in enumerate([*keys, *(["only-english"] if language == "en" else [])]):
            write_g722(folder / f"asterisk/sounds/{voice}/{key}.g722", 400 + 100 * number)
        (folder / f"asterisk/sounds/{voice}/empty.g722").touch()  # as in the Russian package
    return tmp_path / "unpacked"


def test_shared_speech_becomes_pairs_of_one_speaker(unpacked, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["corpus", "asterisk", str(unpacked), "--out", str(out)]) == 0
    rows = {row.id: row for row in read_manifest(out / "pairs.tsv")}
    assert set(rows) == {"activated", "agent-loggedoff", "letters/plus", "untold"}
    assert (rows["activated"].source_text, rows["activated"].target_text) == ("Activated.", "Activado ahora ya.")
    assert (rows["letters/plus"].source_text, rows["letters/plus"].target_text) == ("plus", "más")
    assert (rows["untold"].source_text, rows["untold"].target_text) == (None, None)
    assert {row.speaker for row in rows.values()} == {"allison"}
    # `logged-off-too` says what the test prompt says, so it is in no split.
    assert rows["agent-loggedoff"].split == "test"
    assert all(row.split != "test" for key, row in rows.items() if key != "agent-loggedoff")
    assert "1 dropped" in capsys.readouterr().out
    assert "CC BY-SA 3.0" in (out / "ATTRIBUTION.txt").read_text()
    waveform = read_audio(rows["agent-loggedoff"].target_audio)
    assert waveform.rate_hz == 16_000
    assert waveform.duration_s == pytest.approx(0.3, abs=0.01)


def test_g722_is_decoded_in_tune(tmp_path):
    write_g722(tmp_path / "a.g722", 700)
    waveform = read_g722(tmp_path / "a.g722")
    strongest = np.abs(np.fft.rfft(waveform.samples)).argmax() * 16_000 / waveform.samples.size
    assert strongest == pytest.approx(700, abs=10)
    assert np.abs(waveform.samples).max() == pytest.approx(8_000 / 32_768, rel=0.1)


def test_sixty_prompts_are_tested_on():
    assert len(read_test_ids()) == 60
    assert "agent-loggedoff" in read_test_ids()


def test_missing_packages_and_files_are_named(unpacked, tmp_path, capsys):
    assert run(["corpus", "asterisk", str(unpacked), "--out", str(tmp_path / "o"), "--to", "fr"]) == 2
    assert "asterisk-core-sounds-fr-g722 is not unpacked here" in capsys.readouterr().err
    (tmp_path / "empty.g722").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.g722"):
        read_g722(tmp_path / "empty.g722")
