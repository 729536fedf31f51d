"""Text to phonemes, against strings read by hand; Kokoro's own voice where its packages are."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from polyvoice.corpus.speak.kokoro import trim_silence
from polyvoice.corpus.speak.phonemes import Phonemizer
from polyvoice.errors import InputError
from speechunits.audio import Waveform

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
needs_misaki = pytest.mark.skipif(find_spec("misaki") is None, reason="needs misaki")


@needs_espeak
@pytest.mark.parametrize(
    ("text", "language", "phonemes"),
    [
        ("Good day, my child.", "en", "ɡˈʊd dˈA, mI ʧˈIld."),
        ("Where is the boy?", "en", "wˌɛɹ ɪz ðə bˈY?"),
        ("No jokes!", "en", "nˈO ʤˈOks!"),
        ("¿Dónde está el niño?", "es", "dˈonde estˈa el nˈiɲo?"),
        ("Muchas gracias, señor.", "es", "mˈuʧas ɣɾˈaθjas, seɲˈoɾ."),
    ],
)
def test_alphabets_are_read_by_espeak_in_kokoros_letters(text, language, phonemes):
    assert Phonemizer().phonemize(text, language) == phonemes


@needs_espeak
def test_dots_of_numbers_and_titles_are_no_pauses():
    phonemes = Phonemizer().phonemize("Dr. Smith paid $3.50.", "en")
    assert phonemes.count(".") == 1
    assert phonemes.startswith("dˈɑktəɹ")


@needs_espeak
@needs_misaki
@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("你好，世界。", "ni↓xau↓, ʂɨ↘ʨje↘."),
        ("他有3个苹果！", "tʰa→ jou↓ sa→nkɤ↘ pʰi↗ŋkwo↓!"),
        ("Tom喜欢音乐。", "tˈɑm ɕi↓xwa→n i→nɥe↘."),
    ],
)
def test_chinese_is_read_by_misaki_and_latin_words_in_it_by_espeak(text, phonemes):
    assert Phonemizer().phonemize(text, "zh") == phonemes


@needs_espeak
def test_what_cannot_be_spoken_is_refused():
    for text in ("", "...", "¿?"):
        with pytest.raises(InputError, match="nothing that can be spoken"):
            Phonemizer().phonemize(text, "en")
    with pytest.raises(InputError, match="language 'xx' cannot be spoken"):
        Phonemizer().phonemize("hello", "xx")


def test_silence_is_cut_as_far_as_the_margin():
    silence = np.zeros(5_000, dtype=np.float32)
    tone = np.full(3_000, 0.5, dtype=np.float32)
    trimmed = trim_silence(Waveform(np.concatenate([silence, tone, silence]), 10_000), margin_s=0.1)
    assert trimmed.samples.size == 1_000 + 3_000 + 1_000
    assert (trimmed.samples[1_000:4_000] == 0.5).all()
    assert trim_silence(Waveform(tone, 10_000)).samples.size == 3_000
    with pytest.raises(InputError, match="nothing is heard"):
        trim_silence(Waveform(silence, 10_000))
