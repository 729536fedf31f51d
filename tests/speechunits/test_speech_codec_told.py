"""A decoder that is told units and a voice beside the codes: its sound, its training, its files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from speechunits.audio import Waveform, write_wav
from speechunits.codecs.protocol import SoftCodes, SpokenBy, decode_softly, told_of
from speechunits.codecs.speech_codec import load_speech_codec
from speechunits.codecs.speech_codec.codec import SpeechCodec
from speechunits.codecs.speech_codec.data import Batch, Crops, Cues, read_codec_data
from speechunits.codecs.speech_codec.guide import Guidance
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.settings import CodecSettings, CodecTraining
from speechunits.codecs.speech_codec.storage import round_as_stored, write_codec
from speechunits.codecs.speech_codec.telling import _other_codes, tell
from speechunits.codecs.speech_codec.training import train_speech_codec
from speechunits.errors import InputError
from speechunits.extracted import Extracted, ExtractedInfo, UnitsInfo, read_extracted, write_extracted

pytestmark = pytest.mark.usefixtures("one_thread")

UNITS = UnitsInfo("encoder", "kmeans", 6, 50.0)
SHAPE = CodecSettings(
    mel_bands=20,
    encoder_width=16,
    encoder_blocks=1,
    latent_width=8,
    levels=3,
    codebook_size=16,
    decoder_width=24,
    decoder_blocks=1,
    spectrum_blocks=1,
    expansion=2,
)
COURSE = CodecTraining(
    units="units",
    guide_steps=6,
    decoder_steps=4,
    batch_clips=3,
    reconstruction_crop_s=0.3,
    adversarial_crop_s=0.2,
    prompt_crop_s=0.2,
    warmup_steps=2,
    decoder_stage_width=4,
    average_decay=0.5,
    held_out_clips=1,
    device="cpu",
    log_every=1,
    evaluate_every=5,
    checkpoint_minutes=0.0,
    base="base",
)


def make_model(settings: CodecSettings, told: UnitsInfo | None = None) -> CodecModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = CodecModel(settings, told)
        torch.manual_seed(5)  # the same codebooks, whatever came before
        torch.nn.init.normal_(model.quantizer.codebooks)
    return round_as_stored(model, {})


def wake(model: CodecModel) -> CodecModel:
    """Give a fresh guide something to say: its last layers begin at zero."""
    assert model.decoder.guide is not None
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        for layer in (model.decoder.guide.end, model.decoder.guide.voice.end):
            layer.weight.normal_(std=0.2)
    return model


def draw_codes(levels: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SHAPE.codebook_size, (levels, frames))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a clip of another rate, a clip shorter than a crop; each sample says in which frame it lies."""
    folder = tmp_path_factory.mktemp("clips")
    rows, extracted = ["audio\tspeaker\tsplit"], []
    clips = [("a", 60, 16_000), ("a", 40, 24_000), ("b", 8, 16_000), ("b", 50, 16_000), ("b", 30, 16_000)]
    for number, (speaker, frames, rate_hz) in enumerate(clips):
        level = 0.4 if speaker == "a" else -0.4
        steps = np.repeat(np.arange(frames) % 6, rate_hz // 50) / 60  # as loud as its unit, about its speaker's level
        write_wav(folder / f"{number}.wav", Waveform((level + steps).astype(np.float32), rate_hz))
        rows.append(f"{number}.wav\t{speaker}\t{'dev' if number == 4 else 'train'}")
        extracted.append(Extracted(f"{number}.wav", frames / 50, np.arange(frames, dtype=np.int64) % 6, None))
    (folder / "list.tsv").write_text("\n".join(rows) + "\n")
    write_extracted(folder / "units", ExtractedInfo(UNITS, None), extracted)
    write_codec(folder / "base", make_model(SHAPE))
    return folder / "list.tsv"


def course_on(clips: Path, **changes: object) -> CodecTraining:
    at = replace(COURSE, base=str(clips.parent / "base"), units=str(clips.parent / "units"), codec=SHAPE)
    return replace(at, **changes)  # type: ignore[arg-type]


# The model


def test_a_fresh_guide_changes_nothing() -> None:
    plain, told = make_model(SHAPE), make_model(SHAPE.guided_by(6), UNITS)
    told.load_state_dict(plain.state_dict(), strict=False)
    codes, spoken = SoftCodes.certain(draw_codes(1, 20)), SpokenBy(np.arange(20) % 6, draw_codes(3, 9))
    without = SpeechCodec(plain).decode(codes.codes).samples
    np.testing.assert_array_equal(SpeechCodec(told).decode(codes.codes).samples, without)
    np.testing.assert_array_equal(SpeechCodec(told).decode_told(codes, spoken).samples, without)
    # A codec that cannot be told says so, and decodes what it is given.
    assert (told_of(SpeechCodec(plain)), told_of(SpeechCodec(told))) == (None, UNITS)
    np.testing.assert_array_equal(decode_softly(SpeechCodec(plain), codes, spoken).samples, without)
    with pytest.raises(InputError, match="has not learned to be told"):
        SpeechCodec(plain).decode_told(codes, spoken)


def test_units_matter_where_they_are_and_the_voice_everywhere() -> None:
    codec = SpeechCodec(wake(make_model(SHAPE.guided_by(6), UNITS)))
    codes, units, prompt = SoftCodes.certain(draw_codes(1, 80)), np.zeros(80, np.int64), draw_codes(3, 9)
    before = decode_softly(codec, codes, SpokenBy(units, prompt)).samples
    changed = units.copy()
    changed[60:] = 5
    moved = np.abs(codec.decode_told(codes, SpokenBy(changed, prompt)).samples - before).reshape(80, 320).max(1) > 0
    assert moved[60:].all()
    assert not moved[:30].any()  # beyond the reach of the convolutions
    other = np.abs(codec.decode_told(codes, SpokenBy(units, draw_codes(3, 9, seed=1))).samples - before)
    assert (other.reshape(80, 320).max(1) > 0).all()


def test_what_is_told_is_the_same_in_a_batch() -> None:
    model = wake(make_model(SHAPE.guided_by(6), UNITS))
    frames, prompts = (14, 20, 9), (7, 3, 0)
    units = torch.randint(-1, 6, (3, 20), generator=torch.Generator().manual_seed(0))
    codes, heard = torch.from_numpy(draw_codes(6, 20)).view(2, 3, 20), torch.from_numpy(draw_codes(9, 7)).view(3, 3, 7)
    latent = model.quantizer.decode(heard)
    mask = torch.arange(20) < torch.tensor(frames)[:, None]
    with torch.inference_mode():
        together = model.decoder(model.quantizer.decode(codes), mask, Guidance(units, latent, torch.tensor(prompts)))
        for row, (count, known) in enumerate(zip(frames, prompts, strict=True)):
            prompt = latent[row : row + 1, : max(1, known)]
            guidance = Guidance(units[row : row + 1, :count], prompt, torch.tensor([known]))
            alone = model.decoder(model.quantizer.decode(codes[:, row : row + 1, :count]), None, guidance)
            torch.testing.assert_close(together[row, : count * 320], alone[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("units", "complaint"),
    [
        (np.zeros(17, np.int64), r"units \[20\], whole numbers, not int64 \[17\]"),
        (np.zeros(21, np.int64), r"not int64 \[21\]"),
        (np.zeros(20), r"not float64 \[20\]"),
        (np.zeros((1, 20), np.int64), r"not int64 \[1, 20\]"),
        (np.zeros(0, np.int64), r"not int64 \[0\]"),
        (np.full(20, 6), "units from 0 to 5, not 6 to 6"),
        (np.full(20, -1), "not -1 to -1"),
    ],
)
def test_units_that_do_not_fit_are_refused(units: np.ndarray, complaint: str) -> None:
    codec = SpeechCodec(make_model(SHAPE.guided_by(6), UNITS))
    with pytest.raises(InputError, match=complaint):
        codec.decode_told(SoftCodes.certain(draw_codes(1, 20)), SpokenBy(units, draw_codes(3, 9)))


def test_the_last_unit_lasts_where_an_encoder_leaves_out_the_end() -> None:
    codec = SpeechCodec(wake(make_model(SHAPE.guided_by(6), UNITS)))
    codes, prompt, units = SoftCodes.certain(draw_codes(1, 20)), draw_codes(3, 9), np.arange(18) % 6
    filled = SpokenBy(np.append(units, [units[-1]] * 2), prompt)
    expected = codec.decode_told(codes, filled).samples
    np.testing.assert_array_equal(codec.decode_told(codes, SpokenBy(units, prompt)).samples, expected)


def test_no_codes_are_needed_where_units_and_a_voice_are_told() -> None:
    model = wake(make_model(SHAPE.guided_by(6), UNITS))
    with torch.no_grad():
        model.quantizer.codebooks[0, 0] = 0.0  # a code that says nothing
    codec, spoken = SpeechCodec(model), SpokenBy(np.arange(20) % 6, draw_codes(3, 9))
    said = codec.say(spoken).samples
    silent = SoftCodes.certain(np.zeros((1, 20), np.int64))
    np.testing.assert_array_equal(said, codec.decode_told(silent, spoken).samples)
    assert said.shape == (20 * 320,)
    with pytest.raises(InputError, match="has not learned to be told"):
        SpeechCodec(make_model(SHAPE)).say(spoken)


def test_voices_are_heard_in_all_levels() -> None:
    model, codes = make_model(SHAPE.guided_by(6), UNITS), SoftCodes.certain(draw_codes(1, 20))
    with pytest.raises(InputError, match="in codes of all 3 levels, not of 2"):
        SpeechCodec(model).decode_told(codes, SpokenBy(np.zeros(20, np.int64), draw_codes(2, 9)))
    assert SpeechCodec(model, levels=2).told is None


def test_what_is_probable_is_decoded_as_its_mean() -> None:
    codec = SpeechCodec(wake(make_model(SHAPE.guided_by(6), UNITS)))
    codes, spoken = draw_codes(3, 20), SpokenBy(np.arange(20) % 6, draw_codes(3, 9))
    expected = codec.decode_told(SoftCodes.certain(codes), spoken).samples
    for known in (1, 0):
        sure = SoftCodes(codes, np.eye(SHAPE.codebook_size, dtype=np.float32)[codes[known:]])
        np.testing.assert_allclose(codec.decode_told(sure, spoken).samples, expected, atol=1e-5)


def test_it_is_stored_with_what_its_units_are(tmp_path: Path) -> None:
    model = wake(make_model(SHAPE.guided_by(6), UNITS))
    write_codec(tmp_path, model)
    codec, codes = load_speech_codec(tmp_path), SoftCodes.certain(draw_codes(1, 20))
    assert codec.told == UNITS
    assert codec.identity == SpeechCodec(make_model(SHAPE)).identity  # codes do not depend on the decoder
    spoken = SpokenBy(np.arange(20) % 6, draw_codes(3, 9))
    expected = SpeechCodec(round_as_stored(model, {})).decode_told(codes, spoken).samples
    np.testing.assert_array_equal(codec.decode_told(codes, spoken).samples, expected)
    description = json.loads((tmp_path / "codec.json").read_text())
    for told, complaint in (
        ({"clusters": 6}, r"what its decoder is told must be encoder \(str\)"),
        ({**description["told"], "clusters": 6.0}, r"clusters \(int\)"),
        ({**description["told"], "clusters": 5}, "decoder_units is 6, but there are 5"),
        (None, "decoder_units is 6, but no units are named"),
    ):
        changed = {**description, "told": told} if told else {k: v for k, v in description.items() if k != "told"}
        (tmp_path / "codec.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=complaint):
            load_speech_codec(tmp_path)


# Data


def test_crops_units_and_prompts_belong_together(clips: Path) -> None:
    settings = course_on(clips, gain_db=0.0, batch_clips=120)
    batch = Crops(read_codec_data(clips, settings).train, settings).batch(1, 0.4)
    cues = batch.cues
    assert cues is not None
    assert (batch.samples.shape, cues.units.shape, cues.prompts.shape) == ((120, 6400), (120, 20), (120, 3200))
    middles = batch.samples.view(120, 20, 320)[:, :, 160]
    voices = middles[:, :1].sign()
    sounding = cues.units >= 0
    expected = torch.where(sounding, 0.4 * voices + cues.units / 60, 0.0)
    torch.testing.assert_close(middles, expected, atol=5e-3, rtol=0)  # a resampled step rings
    assert not sounding.all()
    assert (voices == -1).any()
    assert (voices == 1).any()
    # The prompt is of the same speaker, and now and then of another clip.
    assert torch.equal(cues.prompts[:, 160:161].sign(), voices)
    assert set(cues.prompt_frames.tolist()) == {8, 10}
    starts = {round(float(prompt[160]), 2) for prompt in cues.prompts}
    assert len(starts) > 8
    short = cues.prompt_frames == 8  # in the one short clip
    assert short[sounding.all(1)].any()
    assert not short[~sounding.all(1)].any()


def test_without_speakers_a_prompt_is_of_the_same_clip(clips: Path) -> None:
    settings = course_on(clips, voice="nobody", gain_db=0.0, batch_clips=60)
    data = read_codec_data(clips, settings)
    assert len({clip.speaker for clip in data.train}) == 4
    batch = Crops(data.train, settings).batch(1, 0.4)
    assert batch.cues is not None
    assert torch.equal(batch.cues.prompts[:, 160].sign(), batch.samples[:, 160].sign())


def test_recordings_without_units_are_left_out(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info, rows = read_extracted(clips.parent / "units")
    some = [row for row in rows if row.audio in ("0.wav", "1.wav", "4.wav")]
    write_extracted(tmp_path / "some", info, some)
    course = course_on(clips, units=str(tmp_path / "some"), guide_steps=1, decoder_steps=1)
    data = read_codec_data(clips, course)
    assert ([clip.path.name for clip in data.train], data.without_units) == (["0.wav", "1.wav"], 2)
    train_speech_codec(course, clips, tmp_path / "run")
    assert f"2 recordings of {clips} have no units in {tmp_path / 'some'}: left out" in capsys.readouterr().err
    # Other units are another run, though the list is the same.
    shutil.rmtree(tmp_path / "some")
    others = [replace(row, units=np.zeros(row.units.size, np.int64)) for row in some if row.units is not None]
    write_extracted(tmp_path / "some", info, others)
    with pytest.raises(InputError, match="begun with units_of_list = "):
        train_speech_codec(course, clips, tmp_path / "run")


def test_units_of_other_rates_or_recordings_are_refused(clips: Path, tmp_path: Path) -> None:
    info, rows = read_extracted(clips.parent / "units")
    kept = list(rows)
    slow = ExtractedInfo(replace(UNITS, frame_rate_hz=25.0), None)
    for name, about, changed, complaint in (
        ("slow", slow, kept, "25 units a second, the codec 50 frames"),
        ("long", info, [replace(row, units=np.zeros(70, np.int64)) for row in kept], r"0\.wav.*has 1\.40 s of units"),
        ("none", info, [replace(row, audio=f"other{row.audio}") for row in kept], "has no units of the recordings"),
    ):
        write_extracted(tmp_path / name, about, changed)
        with pytest.raises(InputError, match=complaint):
            read_codec_data(clips, course_on(clips, units=str(tmp_path / name)))


def test_everything_is_told_often_enough(clips: Path) -> None:
    settings = course_on(clips)
    model = make_model(SHAPE.guided_by(6), UNITS)
    rows = 4000
    cues = Cues(torch.zeros(rows, 2, dtype=torch.int64), torch.zeros(rows, 320), torch.ones(rows, dtype=torch.int64))
    batch = Batch(torch.zeros(rows, 640), cues)
    given, guidance = tell(model, batch, torch.Generator().manual_seed(settings.seed))
    assert guidance is not None
    silent = (guidance.units == -1).all(1)
    assert torch.equal(silent, guidance.prompt_frames == 0)
    assert 0.08 < silent.float().mean() < 0.12
    # All crops are alike, so each number of levels has a latent of its own; no level at all is zero.
    codes = model.encode(batch.samples[:1])
    levels = {0: torch.zeros(2, 8)} | {n: model.quantizer.decode(codes[:n])[0] for n in (1, 2, 3)}
    alike = {n: (given == latent).all(2).all(1) for n, latent in levels.items()}
    shares = {n: float(rows.float().mean()) for n, rows in alike.items()}
    # What is like none of them has a wrong code in its only level.
    others = given[~torch.stack(list(alike.values())).any(0)]
    assert 0.1 < len(others) / rows < 0.2
    assert (others[:, :, None] == model.quantizer.codebooks[0]).all(3).any(2).all()
    assert 0.42 < shares[0] < 0.48
    assert shares[1] > 0.1
    assert shares[2] > 0.03
    assert shares[3] > 0.08
    assert not (given[silent] == 0).all(2).any()  # who is told nothing hears something


def test_wrong_codes_are_mostly_near_ones() -> None:
    codebook = torch.arange(100.0)[:, None]
    codes = torch.randint(100, (40, 50), generator=torch.Generator().manual_seed(0))
    others = _other_codes(codebook, codes, torch.Generator().manual_seed(1))
    near = (others - codes).abs() <= 32  # at an edge of the codebook all neighbours are on one side
    assert 0.8 < near.float().mean() < 0.95
    assert (others == codes).float().mean() < 0.01
    assert others.unique().numel() == 100


# Training


def test_it_learns_to_tell_units_and_voices_apart_that_codes_do_not(clips: Path, tmp_path: Path) -> None:
    settings = course_on(
        clips,
        guide_steps=220,
        decoder_steps=2,
        batch_clips=6,
        reconstruction_rate=4e-3,
        average_decay=0.9,
        evaluate_every=1000,
        checkpoint_minutes=9.0,
    )
    folder = train_speech_codec(settings, clips, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = next(row for row in rows if "held_out_mel_distance_1_told" in row)
    assert last["held_out_mel_distance_1_told"] < last["held_out_mel_distance_1"]
    assert [row["stage"] for row in rows if "stage" in row][-3:] == ["guide", "decoder", "decoder"]
    before, after = load_file(clips.parent / "base" / "model.safetensors"), load_file(folder / "model.safetensors")
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_killed_and_continued_is_uninterrupted(clips: Path, tmp_path: Path, killed_after) -> None:
    whole = load_file(train_speech_codec(course_on(clips), clips, tmp_path / "whole") / "model.safetensors")
    for steps in (4, 6, 7):  # within each of the two stages, and between them
        out = tmp_path / f"stopped{steps}"
        with killed_after(steps):
            train_speech_codec(course_on(clips), clips, out)
        found = load_file(train_speech_codec(course_on(clips), clips, out) / "model.safetensors")
        assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_told_decoder_goes_on_with_its_units_alone(clips: Path, tmp_path: Path) -> None:
    first = train_speech_codec(course_on(clips, guide_steps=2, decoder_steps=1), clips, tmp_path / "first")
    with pytest.raises(InputError, match="and none are given"):
        train_speech_codec(course_on(clips, base=str(first), units=""), clips, tmp_path / "without")
    _, rows = read_extracted(clips.parent / "units")
    write_extracted(tmp_path / "others", ExtractedInfo(replace(UNITS, kmeans="other"), None), list(rows))
    with pytest.raises(InputError, match="its decoder is told units"):
        train_speech_codec(course_on(clips, base=str(first), units=str(tmp_path / "others")), clips, tmp_path / "b")
    again = course_on(clips, base=str(first), decoder_steps=1)
    assert load_speech_codec(train_speech_codec(again, clips, tmp_path / "second")).told == UNITS
    reports = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in reports if "stage" in row] == ["decoder"]  # it has learned to be told


def test_the_voice_of_a_told_base_keeps_its_width(clips: Path, tmp_path: Path) -> None:
    write_codec(tmp_path / "base", make_model(replace(SHAPE.guided_by(6), decoder_voice_width=5), UNITS))
    course = course_on(clips, base=str(tmp_path / "base"), decoder_steps=1)
    found = load_file(train_speech_codec(course, clips, tmp_path / "run") / "model.safetensors")
    assert found["decoder.guide.voice.start_norm.weight"].shape == (5,)


def test_units_need_a_base() -> None:
    with pytest.raises(InputError, match="not by its shape"):
        replace(COURSE, base="", units="", codec=SHAPE.guided_by(6))
    with pytest.raises(InputError, match="say of which codec"):
        replace(COURSE, base="")
    with pytest.raises(InputError, match="prompt_crop_s must be above 0"):
        replace(COURSE, prompt_crop_s=0.0)
