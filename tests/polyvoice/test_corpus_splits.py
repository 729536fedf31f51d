"""Splits are fixed, nothing leaks between them, and the shares are as asked."""

from collections import Counter
from random import Random

import pytest

from polyvoice.corpus.speak.voices import TEST_VOICES, choose_voices, split_voices
from polyvoice.corpus.splits import (
    Shares,
    hash_fraction,
    join_splits,
    normalize_sentence,
    split_groups,
    split_sentence,
)
from polyvoice.errors import InputError

_NAMES = """
    af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky am_adam am_echo
    am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa bf_alice bf_emma bf_isabella bf_lily bm_daniel
    bm_fable bm_george bm_lewis ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
    jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa zf_xiaobei zf_xiaoni zf_xiaoxiao
    zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang
"""
KOKORO_VOICES = _NAMES.split()


def test_hashes_never_change():
    assert hash_fraction("sentence", "hello") == pytest.approx(0.8337390, abs=1e-6)
    assert hash_fraction("ab", "c") != hash_fraction("a", "bc")


def test_what_is_not_heard_does_not_move_a_sentence():
    assert normalize_sentence("  Hello, World! ") == normalize_sentence("hello world") == "hello world"
    assert normalize_sentence("你好。") == normalize_sentence("你好！")


def test_shares_are_as_asked():
    counts = Counter(split_sentence(f"sentence {number}", Shares(dev=0.1, test=0.2)) for number in range(5_000))
    assert counts["dev"] / 5_000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 5_000 == pytest.approx(0.2, abs=0.02)
    with pytest.raises(InputError, match="nothing to train on"):
        Shares(dev=0.5, test=0.5)


@pytest.mark.parametrize(
    ("sentence", "voice", "row"),
    [
        ("train", "train", "train"),
        ("dev", "train", "dev"),
        ("test", "test", "test"),
        ("train", "test", None),
        ("dev", "test", None),
        ("test", "train", None),
    ],
)
def test_mixed_rows_are_dropped(sentence, voice, row):
    assert join_splits(sentence, voice) == row


def test_rows_that_share_a_sentence_stay_together():
    generator = Random(5)
    words = [f"word{number}" for number in range(300)]
    groups = [(("en", generator.choice(words)), ("zh", generator.choice(words))) for _ in range(250)]
    splits = split_groups(groups, Shares(dev=0.2, test=0.2))
    side_of: dict[tuple[str, str], str] = {}
    for group, split in zip(groups, splits, strict=True):
        for sentence in group:
            assert side_of.setdefault(sentence, split) == split
    assert set(splits) == {"train", "dev", "test"}
    backwards = split_groups(groups[::-1], Shares(dev=0.2, test=0.2))
    assert backwards[::-1] == splits


def test_voices_of_every_kind_are_on_both_sides():
    splits = split_voices(KOKORO_VOICES)
    assert [voice for voice in KOKORO_VOICES if splits[voice] == "test"] == sorted(TEST_VOICES)
    assert Counter(splits.values()) == {"train": 44, "test": 10}
    for side in ("train", "test"):
        voices = [voice for voice in KOKORO_VOICES if splits[voice] == side]
        assert {voice[0] for voice in voices} >= set("aez")
        assert {voice[1] for voice in voices} == set("fm")
    # Who speaks two languages with one voice is on one side.
    for name in ("alex", "dora", "santa"):
        assert len({splits[voice] for voice in KOKORO_VOICES if voice.endswith(f"_{name}")}) == 1


def test_texts_are_spoken_by_voices_of_their_side_and_more_takes_keep_the_first():
    splits = split_voices(KOKORO_VOICES)
    for split, side in (("train", "train"), ("dev", "train"), ("test", "test")):
        chosen = choose_voices("a-key", split, splits, 3, seed=0)
        assert len(set(chosen)) == 3
        assert {splits[voice] for voice in chosen} == {side}
        assert choose_voices("a-key", split, splits, 1, seed=0) == chosen[:1]
    spread = Counter(choose_voices(f"key-{number}", "train", splits, 1, seed=0)[0] for number in range(2_000))
    assert len(spread) == 44
    assert max(spread.values()) < 2 * 2_000 / 44
    with pytest.raises(InputError, match="11 test voices are needed"):
        choose_voices("a-key", "test", splits, 11, seed=0)
