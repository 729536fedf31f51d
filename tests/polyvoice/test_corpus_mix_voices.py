"""Mixed voices: what is in them, who is not, and what is refused."""

import numpy as np
import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.speak.voices import split_voices

VOICES = ("af_bella", "am_adam", "zf_xiaobei", "af_heart", "zm_yunxia")  # the last two test


@pytest.fixture
def voices(tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    for number, name in enumerate(VOICES):
        np.full((510, 1, 256), 10.0**number, dtype="<f4").tofile(folder / f"{name}.bin")
    return folder


def mix(folder, out, *options):
    return run(["corpus", "mix-voices", str(folder), "--out", str(out), *map(str, options)])


def test_a_mixture_is_between_two_voices_that_train_by_the_shares_in_its_name(voices, tmp_path, capsys):
    out = tmp_path / "mixed"
    assert mix(voices, out, "--count", 3) == 0
    assert "3 voices, such as " in capsys.readouterr().out
    names = sorted(path.stem for path in out.glob("*.bin"))
    assert set(split_voices(names).values()) == {"train"}
    couples = set()
    for name in names:
        parts = {part[:-2]: int(part[-2:]) for part in name.split("+")}
        couples.add(frozenset(parts))
        assert sum(parts.values()) == 100
        assert min(parts.values()) >= 30
        expected = sum(share / 100 * 10.0 ** VOICES.index(voice) for voice, share in parts.items())
        styles = np.fromfile(out / f"{name}.bin", "<f4")
        np.testing.assert_allclose(styles, np.full(510 * 256, expected), rtol=1e-6)
    assert couples == {frozenset(couple) for couple in (VOICES[:2], VOICES[1:3], (VOICES[0], VOICES[2]))}


def test_the_seed_decides_and_mixtures_in_the_folder_are_not_mixed_again(voices, tmp_path):
    for seed, out in ((1, "a"), (1, "b"), (2, "c")):
        assert mix(voices, tmp_path / out, "--count", 3, "--seed", seed) == 0
    named = {out: {path.name for path in (tmp_path / out).glob("*.bin")} for out in "abc"}
    assert named["a"] == named["b"] != named["c"]
    assert mix(voices, voices, "--count", 3, "--seed", 1) == 0
    assert mix(voices, tmp_path / "d", "--count", 3, "--seed", 1) == 0
    assert {path.name for path in (tmp_path / "d").glob("*.bin")} == named["a"]


def test_a_mixture_with_a_test_voice_tests():
    mixtures = ["af_bella40+am_adam60", "af_bella40+af_heart60", "zm_yunxia90+am_adam10"]
    assert list(split_voices(mixtures).values()) == ["train", "test", "test"]


@pytest.mark.parametrize("count", [0, 4])
def test_no_more_mixtures_than_couples(voices, tmp_path, capsys, count):
    assert mix(voices, tmp_path / "mixed", "--count", count) == 2
    assert f"3 voices that train have 3 couples; {count} were asked for" in capsys.readouterr().err
    assert not (tmp_path / "mixed").exists()


def test_a_file_that_is_no_voice_is_named(voices, tmp_path, capsys):
    (voices / "am_adam.bin").write_bytes(b"1234")
    assert mix(voices, tmp_path / "mixed", "--count", 3) == 2
    assert "am_adam.bin: a voice holds" in capsys.readouterr().err


def test_a_file_where_the_folder_should_be_is_named(voices, tmp_path, capsys):
    (tmp_path / "mixed").write_text("mine")
    for out in (tmp_path / "mixed", tmp_path / "mixed" / "in it"):
        assert mix(voices, out, "--count", 3) == 2
        assert f"{tmp_path / 'mixed'}" in capsys.readouterr().err
    assert (tmp_path / "mixed").read_text() == "mine"
