"""Options whose values are out of range are refused in one line, as all bad input is."""

from __future__ import annotations

import pytest

from polyvoice.cli.main import run


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("train translate a b c --mt-share 2", "translate: mt_share must be in [0, 1], got 2.0"),
        ("train synthesize first-level a b c --lookahead=-1", "lookahead must not be negative, got -1"),
        ("train synthesize other-levels a b c --noise 1", "noise must be in [0, 1), got 1.0"),
        ("train codec a b --levels 0", "levels"),
        ("translate a.wav b.wav --to en --beams 0", "beams must be at least 1, got 0"),
        ("translate a.wav b.wav --to en --views 0", "views must be at least 1, got 0"),
        ("translate a.wav b.wav --to en --views 8", "views: there are 7, not 8"),
        ("evaluate a.tsv out --best-of 0", "best_of must be at least 1, got 0"),
        ("corpus augment a.tsv --out out --noise-share 3", "noise_share must lie from 0 to 1, not at 3"),
    ],
)
def test_values_out_of_range_are_one_line(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert errors.startswith("polyvoice: ")
    assert complaint in errors


def test_unknown_options_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["train", "translate", "a", "b", "c", "--nonsense", "2"])
    assert stopped.value.code == 2
    assert "--nonsense" in capsys.readouterr().err
