"""Speech per second of audio: the small codec there and back, and each stage of a translation, beside EnCodec.

EnCodec at 24 kHz and 6 kbps is the codec that research systems of this kind use; its decoder alone is the measure for
every stage of ours. Random weights cost what trained ones cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from bench import recordings
from bench.pairs import Pairs, now, run_pairs
from bench.rows import Task
from bench.suite import Case, Measured, Options, run_script
from speechunits.audio import Waveform, resample

if TYPE_CHECKING:
    from speechunits.codecs.protocol import Codec

SIZES_S = (3, 10, 30)
STAGES = ("cut", "voice", "encode", "translate", "duration", "synthesize", "decode")
PEER = "EnCodec 24 kHz"

# From a codec and a sound to what is timed.
Prepare: TypeAlias = "Callable[[Codec, Waveform], Callable[[], Any]]"


def list_cases(options: Options) -> Iterator[Case]:
    """The codec at three lengths, then the chain."""
    ways: tuple[tuple[str, str, Prepare], ...] = (
        ("encode", "codes of speech", encode_with),
        ("decode", "speech from codes", decode_with),
        ("round", "codes of speech and back", round_with),
    )
    for way, what, call in ways:
        for size in SIZES_S:
            task = Task(f"speech-{way}", f"codec: {what}", PEER, size, "seconds of audio", "second of audio")
            yield Case(task, partial(measure_codec, call, size, options))
    for stage in (*STAGES, "whole"):
        what = "translating speech" if stage == "whole" else f"translating speech, stage {stage}"
        task = Task(f"speech-chain-{stage}", what, f"{PEER} decoding", 1, "recording", "second of audio", sized=False)
        yield Case(task, partial(measure_stage, stage, options))


def encode_with(codec: Codec, sound: Waveform) -> Callable[[], Any]:
    """What encodes a sound."""
    return lambda: codec.encode(sound)


def round_with(codec: Codec, sound: Waveform) -> Callable[[], Any]:
    """What encodes a sound and decodes its codes."""
    return lambda: codec.decode(codec.encode(sound))


def decode_with(codec: Codec, sound: Waveform) -> Callable[[], Any]:
    """What decodes the codes of a sound."""
    codes = codec.encode(sound)
    return lambda: codec.decode(codes)


def cut_speech(seconds: float) -> Waveform:
    """So many seconds of the shipped recordings, at 16 kHz."""
    samples = np.take(recordings.read_speech(), np.arange(round(seconds * recordings.RATE_HZ)), mode="wrap")
    return Waveform(samples, recordings.RATE_HZ)


@lru_cache(maxsize=1)
def make_codec() -> Codec:
    """The small codec of default shape."""
    from speechunits.codecs.speech_codec.codec import SpeechCodec
    from speechunits.codecs.speech_codec.model import CodecModel
    from speechunits.codecs.speech_codec.settings import CodecSettings

    torch.manual_seed(0)
    return SpeechCodec(CodecModel(CodecSettings()).eval())


@lru_cache(maxsize=1)
def make_encodec() -> Codec:
    """EnCodec with its own code, 8 levels."""
    from speechunits.codecs.encodec_24khz import Encodec24khz
    from speechunits.torchaudio_import import import_torchaudio

    import_torchaudio()
    from encodec.model import EncodecModel

    torch.manual_seed(0)
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(6.0)
    return Encodec24khz(model.eval())


def measure_codec(call: Prepare, seconds: float, options: Options) -> Measured:
    """Both codecs on the same speech, each at its own rate."""
    sound = cut_speech(seconds)
    ours, theirs = make_codec(), make_encodec()
    compared = run_pairs(
        call(ours, resample(sound, ours.sample_rate_hz)),
        call(theirs, resample(sound, theirs.sample_rate_hz)),
        turns=options.turns,
        work=seconds,
        clock=options.clock,
    )
    note = "ours: 16 kHz, 50 frames a second; EnCodec: 24 kHz, 75; both 8 levels"
    return Measured(compared.pairs, None, note, ("speechunits", "encodec", "torch"))


def measure_stage(stage: str, options: Options) -> Measured:
    """One stage of the chain, of those that `translate_recordings` timed."""
    ours, theirs, note = translate_recordings(options)
    seconds = tuple(sum(turn.values()) if stage == "whole" else turn[stage] for turn in ours)
    return Measured(Pairs(seconds, theirs), None, note, ("polyvoice-s2st", "torch", "encodec"))


@lru_cache(maxsize=1)
def translate_recordings(options: Options) -> tuple[list[dict[str, float]], tuple[float, ...], str]:
    """Translate a shipped recording and decode it with EnCodec, in turn.

    Returns:
        Each turn's seconds of each stage per second of audio; EnCodec's; what was translated.
    """
    from polyvoice.bundle import load
    from polyvoice.pipeline.translator import SpeechTranslator
    from speechunits.audio import read_audio

    bundle = recordings.find_bundle(options)
    asked = recordings.pick_recording(bundle)
    translator = SpeechTranslator(load(bundle))
    sound = read_audio(asked.path)
    encodec = make_encodec()
    decode = decode_with(encodec, resample(sound, encodec.sample_rate_hz))
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for _ in range(options.turns + 1):
        translated = translator.translate(sound, asked.source, asked.target, seed=0)
        ours.append({stage: translated.seconds.get(stage, 0.0) / sound.duration_s for stage in STAGES})
        begin = now("wall")
        decode()
        theirs.append((now("wall") - begin) / sound.duration_s)
    spoken = translated.waveform.duration_s if translated.waveform else 0.0
    return ours[1:], tuple(theirs[1:]), f"{asked.path.name}, {sound.duration_s:.1f} s, said in {spoken:.1f} s"


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
