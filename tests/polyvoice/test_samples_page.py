"""The page: what it shows, what it must not interpret, and its pictures."""

import io
import json
import re
import runpy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sacrebleu")

from PIL import Image

from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.evaluation.evaluate import evaluate
from polyvoice.evaluation.judges import Judges
from polyvoice.evaluation.reading import read_evaluation
from polyvoice.samples.page import draw_rows, make_page
from polyvoice.samples.pictures import draw_spectrogram, draw_units
from speechunits.audio import Waveform, read_audio, write_wav

worker = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("evaluation_worker.py"))))
HOSTILE = "<script>alert('uno')</script> & \u2028 \u4f60\u597d"


class Page(HTMLParser):
    """Files and identifiers that a page names, and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[str] = []
        self.scripts = 0
        self.widths: list[float] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.scripts += tag == "script"
        for name in ("src", "href"):
            value = values.get(name)
            if value and not value.startswith("#"):
                self.files.append(value)
        if values.get("class") == "panel":
            self.widths.append(float(re.fullmatch(r"width:([\d.]+)%", values["style"] or "")[1]))  # type: ignore[index]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of both directions, with hostile text, a silent output and a row without reference speech."""
    folder = tmp_path_factory.mktemp("evaluation")
    lines = ["id\tsource_audio\tsource_lang\tsource_text\ttarget_audio\ttarget_lang\ttarget_text"]
    for place, text in enumerate(("uno dos tres uno", "dos dos", "tres", "uno tres")):
        write_wav(folder / f"{place}.wav", worker.speak(text))
        target = "" if place == 3 else f"{place}.wav"
        lines.append(f"<i>{place}\t{place}.wav\tes\t{HOSTILE if place == 0 else text}\t{target}\ten\tone {place}")
    lines.append("back\t0.wav\ten\tone\t\tzh\t一")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    judges = Judges(recognizers=(worker.ToneRecognizer(),), units=worker.ToneUnits(), missing={"mos": "pip & co"})

    class Interpreter(worker.Interpreter):
        def translate(self, waveform: Waveform, *arguments: str, **options: int) -> object:
            said = super().translate(waveform, *arguments, **options)
            return replace(said, waveform=None) if waveform.duration_s == worker.WORD_S else said

    evaluate(folder / "manifest.tsv", folder / "run", Interpreter(), judges)
    return folder / "run"


def test_the_evaluation_is_read_as_it_was_written(finished: Path) -> None:
    evaluation = read_evaluation(finished)
    assert evaluation.as_json() == json.loads((finished / "scores.json").read_text("utf-8"))


def test_page_and_its_files(finished: Path, tmp_path: Path) -> None:
    written = make_page(finished, tmp_path / "page").read_text("utf-8")
    page = Page(written)
    # Five sources, three reference recordings and four outputs sound; all have a picture, and so have their units.
    assert len(page.files) == 3 * (5 + 3 + 4)
    assert all((tmp_path / "page" / name).is_file() for name in page.files)
    assert not any(re.match(r"[a-z]+:|/", name) for name in page.files)
    for name in page.files:
        if name.endswith(".flac"):
            assert read_audio(tmp_path / "page" / name).duration_s >= 0.5
    assert "Spanish to English" in page.text
    assert "English to Chinese" in page.text
    assert page.text.count("nothing said") >= 2  # the chip and the player's place


def test_text_is_shown_and_never_interpreted(finished: Path, tmp_path: Path) -> None:
    page = Page(make_page(finished, tmp_path / "page").read_text("utf-8"))
    assert page.scripts == 1
    assert HOSTILE in page.text
    assert "<i>0" in page.text
    assert "pip & co" in page.text


def test_scores_are_those_of_the_evaluation(finished: Path, tmp_path: Path) -> None:
    text = make_page(finished, tmp_path / "page").read_text("utf-8")
    scores = json.loads((finished / "scores.json").read_text("utf-8"))["directions"]["es-en"]
    rows = dict(re.findall(r"<tr><td>([^<]+?) <span.*?<b>(.*?)</b>", text.partition('id="en-zh"')[0]))
    assert rows["ASR-chrF"] == f"{scores['chrf']['value']:.1f}"
    assert rows["Unit error rate"] == f"{scores['unit_error_rate']['value']:.2f}"
    assert rows["Nothing said"] == "0.25"


def test_pictures_of_one_sample_have_one_time_scale(finished: Path, tmp_path: Path) -> None:
    widths = Page(make_page(finished, tmp_path / "page").read_text("utf-8")).widths
    # Of the first sample: source and reference of four words, output of three.
    assert widths[:3] == [100.0, 100.0, 75.0]


def test_the_same_evaluation_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_page(finished, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


def test_samples_are_drawn_and_stay_in_order(finished: Path) -> None:
    rows = list(read_evaluation(finished).rows)
    assert draw_rows(rows, 20, 0) == rows
    drawn = {tuple(row.position for row in draw_rows(rows, 2, seed)) for seed in range(40)}
    assert all(first < second for first, second in drawn)
    assert len(drawn) > 5


def test_the_samples_command(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["samples", str(tmp_path / "page"), "--evaluation", str(finished), "--count", "1"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    assert run(["samples", str(tmp_path / "page"), "--evaluation", str(tmp_path)]) == 2
    assert "is the evaluation finished?" in capsys.readouterr().err


def test_an_unfinished_evaluation_is_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_bytes((finished / "scores.json").read_bytes())
    lines = (finished / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(InputError, match="4 rows where"):
        make_page(tmp_path, tmp_path / "page")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="not the files of an evaluation"):
        make_page(tmp_path, tmp_path / "page")


def test_a_tone_is_a_bright_line_at_its_height() -> None:
    def brightest_row(pitch_hz: float) -> int:
        samples = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(16_000) / 16_000)
        image = Image.open(io.BytesIO(draw_spectrogram(Waveform(samples.astype(np.float32), 16_000))))
        return int(np.asarray(image).astype(int).sum(axis=1).argmax())

    low, middle, high = (brightest_row(pitch_hz) for pitch_hz in (200.0, 1_000.0, 5_000.0))
    assert high < middle < low
    # On the mel scale 1 kHz lies at 1000 of 2840 mel.
    assert middle == pytest.approx(72 * (1 - 1000 / 2840), abs=2)


def test_long_speech_and_silence_can_be_drawn() -> None:
    long = Image.open(io.BytesIO(draw_spectrogram(Waveform(np.zeros(16_000 * 60, dtype=np.float32), 16_000))))
    assert long.size[0] <= 900
    assert np.asarray(long).max() == 0


def test_equal_units_have_equal_colours() -> None:
    image = np.asarray(Image.open(io.BytesIO(draw_units([3, 3, 999, 3, 4]))))[0].tolist()
    assert image[0] == image[1] == image[3]
    assert len({tuple(colour) for colour in image}) == 3
