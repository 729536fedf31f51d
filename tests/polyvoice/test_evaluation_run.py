"""A run from manifest to scores with a system whose faults are known; killed runs end as if they had not been."""

import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sacrebleu")

from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.evaluation.evaluate import evaluate
from polyvoice.evaluation.judges import Judges, load_judges
from polyvoice.evaluation.recordings import Recordings, file_stem
from polyvoice.evaluation.results import Evaluation
from polyvoice.evaluation.rows import EvaluatedRow
from polyvoice.pipeline.protocol import Translated
from speechunits.audio import Waveform, read_audio, write_wav

WORKER = Path(__file__).with_name("evaluation_worker.py")
worker = SimpleNamespace(**runpy.run_path(str(WORKER)))
SENTENCES = ("uno dos tres uno dos tres", "dos dos", "tres uno tres", "uno dos")
ENGLISH = {"uno": "one", "dos": "two", "tres": "three"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    lines = ["id\tsource_audio\tsource_lang\tsource_text\ttarget_audio\ttarget_lang\ttarget_text"]
    for place, text in enumerate(SENTENCES):
        translation = " ".join(ENGLISH[word] for word in text.split())
        write_wav(tmp_path / f"{place}.es.wav", worker.speak(text))
        write_wav(tmp_path / f"{place}.en.wav", worker.speak(translation))
        lines.append(f"a/{place}\t{place}.es.wav\tes\t{text}\t{place}.en.wav\ten\t{translation.title()}.")
    path = tmp_path / "manifest.tsv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def judges() -> Judges:
    return Judges(recognizers=(worker.ToneRecognizer(),), units=worker.ToneUnits())


def evaluate_interpreter(manifest: Path, judges: Judges) -> Evaluation:
    return evaluate(manifest, manifest.parent / "run", worker.Interpreter(), judges)


def test_scores_of_known_faults(manifest: Path, judges: Judges) -> None:
    evaluation = evaluate_interpreter(manifest, judges)
    output, ceiling = evaluation.scores.output, evaluation.scores.ceiling
    # Two of 13 words are forgotten, and their units: "two two" is one unit, so 12 units are referred to.
    assert output["asr_error_rate"].value == pytest.approx(2 / 13)
    assert output["unit_error_rate"].value == pytest.approx(2 / 12)
    assert output["within_20"].value == 0.75
    assert output["within_40"].value == 1.0
    assert output["length_ratio"].value == pytest.approx((5 / 6 + 1 + 2 / 3 + 1) / 4)
    assert output["rtf"].value == pytest.approx(4 * 0.75 / 6.5)
    assert output["rtf_synthesize"].value == pytest.approx(4 * 0.5 / 6.5)
    assert output["first_audio_s"].value == pytest.approx(0.3)
    assert 0 < output["asr_bleu"].value < 100
    assert output["empty"].value == 0
    assert {score.n for score in output.values()} == {4}
    assert ceiling["asr_error_rate"].value == 0
    assert ceiling["chrf"].value == pytest.approx(100)
    assert "unit_error_rate" not in ceiling
    assert evaluation.scores.recognizers["tones"].output["asr_bleu"] == output["asr_bleu"]


def test_files_say_what_the_evaluation_says(manifest: Path, judges: Judges) -> None:
    evaluation = evaluate_interpreter(manifest, judges)
    out = manifest.parent / "run"
    scores = json.loads((out / "scores.json").read_text("utf-8"))
    assert scores["asr_error_rate"]["value"] == round(2 / 13, 6)
    assert scores["asr_error_rate"]["low"] <= 2 / 13 <= scores["asr_error_rate"]["high"]
    assert scores["asr_error_rate"]["n"] == 4
    assert scores["directions"]["es-en"]["chrf"] == scores["chrf"]
    assert scores["settings"]["system"] == "interpreter 1"
    assert scores["versions"]["sacrebleu"]
    rows = [EvaluatedRow.from_json(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    assert tuple(rows) == evaluation.rows
    assert [row.id for row in rows] == ["a/0", "a/1", "a/2", "a/3"]
    assert rows[0].source_audio == "../0.es.wav"
    assert rows[0].translation.audio == "audio/a%2F0.wav"
    assert worker.hear(read_audio(out / "audio" / "a%2F0.wav")) == ["one", "two", "one", "two", "three"]
    assert rows[2].output.transcripts[0].text == "three one"


def test_only_the_rows_of_one_split_are_asked_for(manifest: Path, judges: Judges) -> None:
    header, *lines = manifest.read_text("utf-8").splitlines()
    splits = ("train", "test", "dev", "test", "test")
    lines.append("text\t\tes\tuno\t\ten\tone")  # nothing to hear: such rows are for training
    table = [f"{header}\tsplit", *(f"{line}\t{split}" for line, split in zip(lines, splits, strict=True))]
    manifest.write_text("\n".join(table) + "\n", "utf-8")
    assert [row.id for row in evaluate_interpreter(manifest, judges).rows] == ["a/1", "a/3"]
    dev = evaluate(manifest, manifest.parent / "dev", worker.Interpreter(), judges, split="dev")
    assert [row.id for row in dev.rows] == ["a/2"]
    manifest.write_text(manifest.read_text("utf-8").replace("\tdev", "\ttrain"), "utf-8")
    with pytest.raises(InputError, match=r"manifest\.tsv: no row of split 'dev'"):
        evaluate(manifest, manifest.parent / "none", worker.Interpreter(), judges, split="dev")


def test_a_finished_run_asks_nothing_again(manifest: Path, judges: Judges) -> None:
    first = evaluate_interpreter(manifest, judges)
    interpreter = worker.Interpreter()
    again = evaluate(manifest, manifest.parent / "run", interpreter, judges)
    assert interpreter.asked == 0
    assert again == first


def test_other_judges_judge_anew_without_translating_anew(manifest: Path, judges: Judges) -> None:
    evaluate_interpreter(manifest, judges)
    interpreter = worker.Interpreter()
    deaf = evaluate(manifest, manifest.parent / "run", interpreter, Judges(units=worker.ToneUnits()))
    assert interpreter.asked == 0
    assert "asr_bleu" not in deaf.scores.output
    assert deaf.scores.output["unit_error_rate"].value == pytest.approx(2 / 12)


def test_a_kill_between_two_judges_leaves_no_judgement_of_the_first(
    manifest: Path, judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_interpreter(manifest, judges)
    units = Judges(units=worker.ToneUnits())
    for step in ("are_other_judges", "remember_judges"):
        with monkeypatch.context() as patch:

            def die(*_: object) -> bool:
                raise KeyboardInterrupt

            patch.setattr(f"polyvoice.evaluation.evaluate.{step}", die)
            with pytest.raises(KeyboardInterrupt):
                evaluate(manifest, manifest.parent / "run", worker.Interpreter(), units)
    after = evaluate(manifest, manifest.parent / "run", worker.Interpreter(), units)
    assert after == evaluate(manifest, manifest.parent / "anew", worker.Interpreter(), units)


def test_another_system_needs_another_folder(manifest: Path, judges: Judges) -> None:
    evaluate_interpreter(manifest, judges)
    other = worker.Interpreter()
    other.identity = "interpreter 2"
    with pytest.raises(InputError, match=r"config\.json: .*system 'interpreter 1', now it is 'interpreter 2'"):
        evaluate(manifest, manifest.parent / "run", other, judges)
    with pytest.raises(InputError, match="seed"):
        evaluate(manifest, manifest.parent / "run", worker.Interpreter(), judges, seed=1)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_ends_as_if_it_had_not_been(manifest: Path, judges: Judges) -> None:
    whole = evaluate(manifest, manifest.parent / "whole", worker.Interpreter(), judges)
    out = manifest.parent / "killed"
    # Killed at the third question; then the row that was written last is torn as well.
    killed = subprocess.run([sys.executable, str(WORKER), str(manifest), str(out), "2"], check=False)
    assert killed.returncode == -signal.SIGKILL
    journal = out / "translations.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    journal.write_bytes(lines[0] + lines[1][:25])
    interpreter = worker.Interpreter()
    continued = evaluate(manifest, out, interpreter, judges)
    assert interpreter.asked == 3
    assert continued == whole
    for name in ("rows.jsonl", "scores.json", "audio/a%2F2.wav"):
        assert (out / name).read_bytes() == (manifest.parent / "whole" / name).read_bytes()


def test_recordings_of_another_system(manifest: Path, judges: Judges) -> None:
    folder = manifest.parent / "recordings"
    folder.mkdir()
    write_wav(folder / f"{file_stem('a/0')}.wav", worker.speak("one two three"))
    write_wav(folder / f"{file_stem('a/1')}.wav", Waveform(np.zeros(16_000, dtype=np.float32), 16_000))
    (folder / f"{file_stem('a/2')}.wav").touch()
    evaluation = evaluate(manifest, manifest.parent / "run", Recordings(folder), judges)
    rows = evaluation.rows
    assert [row.output.empty for row in rows] == [False, True, True, True]
    assert [row.output.duration_s for row in rows] == [1.5, 1.0, 0.0, 0.0]
    # The recogniser would hear words in zeros; nothing said is a missing sentence.
    assert [row.output.transcripts[0].text for row in rows] == ["one two three", "", "", ""]
    assert evaluation.scores.output["asr_error_rate"].value == pytest.approx(10 / 13)
    assert evaluation.scores.output["empty"].value == 0.75
    assert evaluation.scores.output["within_20"].value == 0.25
    assert "rtf" not in evaluation.scores.output
    with pytest.raises(InputError, match="no file is named after an id"):
        evaluate(manifest, manifest.parent / "other", Recordings(manifest.parent / "run"), judges)


def test_a_system_that_says_nothing(manifest: Path, judges: Judges) -> None:
    class Mute:
        identity = "mute"

        def warm_up(self) -> None:
            """Nothing is loaded."""

        def translate(self, waveform: Waveform, source_lang: str, target_lang: str, *, seed: int) -> Translated:
            return Translated(None)

    scores = evaluate(manifest, manifest.parent / "run", Mute(), judges).scores
    assert scores.output["empty"].value == 1
    assert scores.output["asr_bleu"].value == 0
    assert scores.output["unit_error_rate"].value == 1


def test_what_cannot_be_judged_is_named(manifest: Path) -> None:
    judges = load_judges((), ["en", "zh"], skip=("speaker_similarity", "mos", "dnsmos"))
    assert sorted(judges.missing) == ["asr_bleu in en", "asr_bleu in zh", "unit_error_rate"]
    assert "--recognizers zh=" in judges.missing["asr_bleu in zh"]


def test_the_command(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = manifest.parent / "recordings"
    folder.mkdir()
    for place, text in enumerate(SENTENCES):
        write_wav(folder / f"{file_stem(f'a/{place}')}.wav", worker.speak(text))
    out = manifest.parent / "run"
    skip = ["--skip", "asr_bleu", "--skip", "speaker_similarity", "--skip", "mos", "--skip", "dnsmos"]
    command = ["evaluate", str(manifest), str(out), "--outputs", str(folder), *skip]
    assert run([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "scores.json").read_text("utf-8"))
    assert printed["within_20"]["value"] == 1.0
    assert run(command) == 0
    assert "within_20" in capsys.readouterr().out
    (manifest.parent / "2.es.wav").unlink()
    assert run(command) == 2
    error = capsys.readouterr().err
    assert "row a/2" in error
    assert "2.es.wav" in error
    assert len(error.strip().splitlines()) == 1
