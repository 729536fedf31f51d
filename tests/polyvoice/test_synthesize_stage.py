"""The synthesiser: what both models are shown, that they learn every level, and that the prompt's voice decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.corpus.copies import name_copy
from polyvoice.corpus.manifest import PairRow, write_manifest
from polyvoice.errors import InputError
from polyvoice.spoken import Side, SpokenPair, load_pairs, reverse
from polyvoice.stages.course import Course
from polyvoice.stages.stage_folder import read_stage
from polyvoice.stages.synthesize.accuracy import HitCounter, level_accuracies
from polyvoice.stages.synthesize.data import Rates, Speech, VoiceCorpus, VoiceExample, to_speech
from polyvoice.stages.synthesize.first_level import (
    FirstLevelModel,
    FirstLevelWriter,
    VoiceQuery,
    build_first_level_vocabulary,
    count_first_level_hits,
)
from polyvoice.stages.synthesize.other_levels import (
    CodeSpans,
    LevelObjective,
    OtherLevelsModel,
    OtherLevelsWriter,
    build_other_levels_vocabulary,
    count_other_levels_hits,
)
from polyvoice.stages.synthesize.settings import (
    FirstLevelLayout,
    FirstLevelSettings,
    OtherLevelsSettings,
    VoiceSettings,
)
from polyvoice.stages.synthesize.synthesizer import SynthesisOptions, Synthesizer, Utterance
from polyvoice.stages.synthesize.training import train_first_level, train_other_levels
from polyvoice.tasks import Direction
from speechunits.codecs.protocol import Codes, SoftCodes
from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, write_extracted
from speechunits.runs import deduplicate, expand
from unitlm.data import Batch, DataPosition, Packer, Packing
from unitlm.metrics import read_metrics
from unitlm.model import ABSENT, Decoder
from unitlm.run_folder import find_checkpoints
from unitlm.shards import ShardSet

RATES = Rates(50.0, 75.0)
UNITS, LEVELS, SIZE = 10, 3, 24
CODES = CodesInfo("toy codec", LEVELS, SIZE, RATES.codes_hz)
GREEDY = SynthesisOptions(temperature=0.0)
COURSE = Course(
    steps=100,
    batch_rows=8,
    sequence_length=160,
    learning_rate=5e-3,
    optimizer="muon",
    warmup_steps=10,
    average_decay=0.9,
    precision="fp32",
    evaluate_every=3,
    checkpoint_every=0,
    log_every=1,
    device="cpu",
)
VOICE = VoiceSettings(prompt_frames=60)
FIRST = FirstLevelSettings(preset="tiny", voice=VOICE, course=COURSE)
OTHERS = OtherLevelsSettings(preset="tiny", voice=VOICE, course=replace(COURSE, steps=50))


def speak(units: np.ndarray, speaker: int) -> np.ndarray:
    """Codes [K, T] of units at the codec's rate: each level has a part of the codebook for each speaker."""
    return np.stack([(units + 3 * level * (1 + speaker)) % 10 + 12 * speaker for level in range(LEVELS)])


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A manifest and its extracted folder: 20 training pairs and 4 to watch, by two speakers."""
    folder, chance = tmp_path_factory.mktemp("voices"), np.random.default_rng(0)
    rows, utterances = [], []
    for number in range(24):
        names = {language: f"{number}-{language}.wav" for language in ("zh", "en")}
        for name in names.values():
            steps = np.cumsum(chance.integers(1, UNITS, chance.integers(4, 8))) % UNITS
            units = np.repeat(steps, chance.integers(1, 6, steps.size))
            stretched = RATES.stretch_units(units, RATES.codec_frames(units.size))
            utterances.append(Extracted(name, units.size / 50, units, speak(stretched, number % 2)))
        audio = {language: folder / name for language, name in names.items()}
        split = "train" if number < 20 else "dev"
        rows.append(PairRow(f"p{number}", audio["zh"], "zh", None, audio["en"], "en", None, f"s{number % 2}", split))
    write_manifest(folder / "pairs.tsv", rows)
    info = ExtractedInfo(UnitsInfo("toy encoder", "toy kmeans", UNITS, RATES.units_hz), CODES)
    write_extracted(folder / "extracted", info, utterances)
    return folder / "pairs.tsv", folder / "extracted"


@pytest.fixture(scope="module")
def pairs(voices: tuple[Path, Path]) -> list[SpokenPair]:
    return [each for pair in load_pairs(*voices, "train") for each in (pair, reverse(pair))]


@pytest.fixture(scope="module")
def first_level(voices: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_first_level(*voices, tmp_path_factory.mktemp("first") / "run", FIRST)


@pytest.fixture(scope="module")
def other_levels(voices: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_other_levels(*voices, tmp_path_factory.mktemp("others") / "run", OTHERS)


@pytest.fixture(scope="module")
def synthesizer(first_level: Path, other_levels: Path) -> Synthesizer:
    return Synthesizer.load(first_level, other_levels)


def utterance_of(pair: SpokenPair) -> Utterance:
    source, target = pair.source, pair.target
    assert source.runs is not None
    assert source.codes is not None
    assert target.runs is not None
    return Utterance(expand(source.runs), source.codes, expand(target.runs), source.language, target.language)


def example_of(pair: SpokenPair) -> VoiceExample:
    prompt, target = to_speech(pair.source, RATES, "source"), to_speech(pair.target, RATES, "target")
    assert prompt is not None
    assert target is not None
    return VoiceExample(pair.id, prompt, target)


def codes_of(spoken: Sequence[SoftCodes]) -> list[Codes]:
    return [one.codes for one in spoken]


def test_other_levels_come_with_how_probable_their_codes_are(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    chosen = list(map(utterance_of, pairs[:3]))
    spoken = synthesizer.synthesize_batch(chosen, options=replace(GREEDY, other_levels="mean"))
    for one in spoken:
        assert one.chances.shape == (LEVELS - 1, one.codes.shape[1], SIZE)
        np.testing.assert_allclose(one.chances.sum(axis=-1), 1.0, atol=1e-5)
        assert (one.chances.argmax(axis=-1) == one.codes[1:]).all()
    best = synthesizer.synthesize_batch(chosen, options=GREEDY)
    assert all((a == b).all() for a, b in zip(codes_of(spoken), codes_of(best), strict=True))
    assert all(len(one.chances) == 0 for one in best)


def test_known_pairs_are_spoken_as_they_were(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    spoken = synthesizer.synthesize_batch(list(map(utterance_of, pairs)), options=GREEDY)
    right = []
    for pair, codes in zip(pairs, codes_of(spoken), strict=True):
        assert pair.target.codes is not None
        assert codes.shape == pair.target.codes.shape
        right.append((codes == pair.target.codes).ravel())
    assert np.concatenate(right).mean() > 0.98


def test_alone_and_in_a_batch_the_codes_are_the_same(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    chosen = list(map(utterance_of, pairs[:5]))
    for one, codes in zip(chosen, synthesizer.synthesize_batch(chosen, options=GREEDY), strict=True):
        alone = synthesizer.synthesize(
            one.prompt_units,
            one.prompt_codes,
            one.target_units,
            one.prompt_language,
            one.target_language,
            options=GREEDY,
        )
        assert (alone.codes == codes.codes).all()


def test_the_prompt_decides_whose_voice_it_is(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    """New units, which neither speaker has ever said, with the prompt of one and of the other."""
    units = np.repeat(np.array([3, 8, 1, 5, 2]), [4, 3, 5, 2, 4])
    expected_units = RATES.stretch_units(units, RATES.codec_frames(units.size))
    for speaker in (0, 1):
        prompts = [utterance_of(pair) for pair in pairs if pair.speaker == f"s{speaker}"][:4]
        spoken = synthesizer.synthesize_batch([replace(each, target_units=units) for each in prompts], options=GREEDY)
        right = np.stack([codes == speak(expected_units, speaker) for codes in codes_of(spoken)])
        assert right.mean() > 0.9


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 50])
def test_exactly_the_predicted_number_of_frames_comes_out(
    synthesizer: Synthesizer, pairs: list[SpokenPair], frames: int
) -> None:
    one = replace(utterance_of(pairs[0]), target_units=np.arange(frames) % UNITS)
    (codes,) = codes_of(synthesizer.synthesize_batch([one], options=SynthesisOptions(best_of=2)))
    assert codes.shape == (LEVELS, max(round(frames * 1.5), 1))
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < SIZE


def test_the_same_seed_draws_the_same_codes(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    chosen = list(map(utterance_of, pairs[:3]))
    options = SynthesisOptions(temperature=2.0, top_p=1.0, best_of=3)
    one, again, other = (
        codes_of(synthesizer.synthesize_batch(chosen, options=options, seed=seed)) for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_accuracy_rises_at_every_level(first_level: Path, other_levels: Path, pairs: list[SpokenPair]) -> None:
    """Beside the same models with fresh weights, which tied embeddings let copy the last code: no mean feat in runs."""
    for folder, kind, levels in ((first_level, FirstLevelModel, {0}), (other_levels, OtherLevelsModel, {1, 2})):
        model = kind.load(folder)
        vocabulary = model.writer.vocabulary
        count: HitCounter = (
            partial(count_first_level_hits, vocabulary)
            if kind is FirstLevelModel
            else partial(count_other_levels_hits, CodeSpans.of(vocabulary))
        )
        examples = [model.writer.example(example_of(pair)) for pair in pairs[:10]]
        trained = level_accuracies(count, model._model, examples)
        assert trained.keys() == levels
        assert min(trained.values()) > 0.95
        fresh = Decoder(model._model.config).eval()
        fresh.reset_parameters(torch.Generator().manual_seed(1))
        for level, untrained in level_accuracies(count, fresh, examples).items():
            assert trained[level] > untrained + 0.15
        looks = [row for row in read_metrics(folder.parent / "train") if "held_out_loss" in row]
        for name in (f"held_out_accuracy_level_{level}" for level in levels):
            assert looks[-1][name] > 0.8
            assert looks[-1][name] > looks[0][name] + 0.15


def test_stages_say_what_they_are_and_are_not_mixed_up(first_level: Path, other_levels: Path, tmp_path: Path) -> None:
    card = read_stage(other_levels, "other_levels")
    assert card.codes == CODES
    assert {str(way) for way in card.directions} == {"zh-en", "en-zh"}
    assert card.settings["voice"]["prompt_frames"] == 60  # type: ignore[index, call-overload]
    with pytest.raises(InputError, match="expected 'first_level'"):
        Synthesizer.load(other_levels, other_levels)
    alien = OtherLevelsModel.load(other_levels)
    alien.card = replace(card, codes=replace(CODES, codec="another"))
    with pytest.raises(InputError, match="trained on other units or codes"):
        Synthesizer(FirstLevelModel.load(first_level), alien)


def test_level_0_alone_is_spoken_where_the_others_are_not_wanted(
    synthesizer: Synthesizer, first_level: Path, pairs: list[SpokenPair]
) -> None:
    chosen = list(map(utterance_of, pairs[:2]))
    alone = Synthesizer.load(first_level, None)
    with pytest.raises(InputError, match="there is no model of the others: other_levels must be none, not best"):
        alone.synthesize_batch(chosen, options=GREEDY)
    first = replace(GREEDY, other_levels="none")
    for one, same, whole in zip(
        alone.synthesize_batch(chosen, options=first),
        synthesizer.synthesize_batch(chosen, options=first),
        synthesizer.synthesize_batch(chosen, options=GREEDY),
        strict=True,
    ):
        np.testing.assert_array_equal(one.codes, same.codes)
        np.testing.assert_array_equal(one.codes, whole.codes[:1])


def test_the_mean_of_level_0_is_what_may_follow_the_drawn_codes(first_level: Path, pairs: list[SpokenPair]) -> None:
    synthesizer = Synthesizer.load(first_level, None)
    greedy = replace(GREEDY, other_levels="none")
    chosen = list(map(utterance_of, pairs[:2]))
    drawn = synthesizer.synthesize_batch(chosen, options=greedy)
    for one, sure in zip(
        synthesizer.synthesize_batch(chosen, options=replace(greedy, first_level="mean")), drawn, strict=True
    ):
        assert one.chances.shape == (1, sure.codes.shape[1], SIZE)
        np.testing.assert_allclose(one.chances.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(one.codes, sure.codes)  # the most probable ones were drawn
        np.testing.assert_array_equal(one.chances.argmax(axis=-1), sure.codes)
    # What was drawn counts for what comes after it, and for nothing else.
    query, codes = synthesizer._query(chosen[0]), drawn[0].codes[0]
    changed = codes.copy()
    changed[4] = (changed[4] + 1) % SIZE
    before, after = (synthesizer._first_level.weigh(query, each) for each in (codes, changed))
    np.testing.assert_allclose(before[:5], after[:5], atol=1e-5)
    assert np.abs(before[5] - after[5]).max() > 1e-3


def test_other_levels_are_not_made_for_the_mean_of_level_0(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    with pytest.raises(InputError, match="with other_levels best, first_level must be drawn, not mean"):
        synthesizer.synthesize_batch([utterance_of(pairs[0])], options=replace(GREEDY, first_level="mean"))


def test_what_the_models_cannot_know_is_refused(synthesizer: Synthesizer, pairs: list[SpokenPair]) -> None:
    one = utterance_of(pairs[0])
    for changed, message in (
        (replace(one, target_units=np.zeros(0, np.int64)), "no units to speak"),
        (replace(one, prompt_codes=one.prompt_codes[:2]), r"expected at least one unit and codes \[3, T\]"),
        (replace(one, prompt_units=np.zeros(0, np.int64)), "0 units"),
        (replace(one, target_units=np.array([UNITS])), "units: the model knows 0 to 9"),
        (replace(one, prompt_codes=one.prompt_codes + SIZE), r"codec.0: the model knows 0 to 23"),
        (replace(one, target_language="fr"), "language 'fr'"),
    ):
        with pytest.raises(InputError, match=message):
            synthesizer.synthesize_batch([changed])


def test_a_run_of_the_other_levels_that_lost_its_end_goes_on_as_if_it_had_not(
    voices: tuple[Path, Path], tmp_path: Path
) -> None:
    """The levels are drawn at random for each row: the same ones again after a restart."""
    course = replace(COURSE, steps=12, checkpoint_every=4, warmup_steps=2)
    settings = replace(OTHERS, noise=0.2, course=course)
    rows = {}
    for name in ("through", "resumed"):
        train_other_levels(*voices, tmp_path / name, settings)
        if name == "resumed":
            run = tmp_path / name / "train"
            (find_checkpoints(run)[-1] / "checkpoint.json").unlink()
            assert [path.name for path in find_checkpoints(run)] == ["step-00000008"]
            train_other_levels(*voices, tmp_path / name, settings)
        found = read_metrics(tmp_path / name / "train")
        rows[name] = [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in found]
    assert rows["through"] == rows["resumed"]
    assert sum("loss" in row for row in rows["through"]) == 12
    with pytest.raises(InputError, match=r"begun with noise = 0\.2, not 0\.1"):
        train_other_levels(*voices, tmp_path / "through", replace(settings, noise=0.1))


def test_the_paper_layout_and_a_prompt_without_units_run_from_end_to_end(
    voices: tuple[Path, Path], other_levels: Path, pairs: list[SpokenPair], tmp_path: Path
) -> None:
    voice = replace(VOICE, prompt_units=False)
    settings = FirstLevelSettings(
        preset="tiny",
        voice=voice,
        layout=FirstLevelLayout(layout="line"),
        course=replace(COURSE, steps=20, sequence_length=320),
    )
    folder = train_first_level(*voices, tmp_path / "run", settings)
    losses = [row["loss"] for row in read_metrics(tmp_path / "run" / "train") if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    one = utterance_of(pairs[0])
    synthesizer = Synthesizer.load(folder, other_levels)
    (codes,) = codes_of(synthesizer.synthesize_batch([one]))
    assert codes.shape[1] == RATES.codec_frames(one.target_units.size)
    # Without its units, a prompt is only its codes: other units beside them change nothing.
    (same,) = synthesizer._first_level.write([synthesizer._query(one)])
    (again,) = synthesizer._first_level.write([synthesizer._query(replace(one, prompt_units=one.prompt_units[::-1]))])
    assert (same == again).all()
    chances = synthesizer._first_level.weigh(synthesizer._query(one), same)
    assert (chances.argmax(axis=-1) == same).mean() > 0.9  # but for what 8 bits round


# --- what is shown -------------------------------------------------------------------------------------------------


def random_speech(chance: np.random.Generator, frames: int, language: str = "en") -> Speech:
    return Speech(language, chance.integers(UNITS, size=frames), chance.integers(SIZE, size=(LEVELS, frames)))


def test_the_first_level_in_both_layouts() -> None:
    chance = np.random.default_rng(0)
    example = VoiceExample("k", random_speech(chance, 3, "zh"), random_speech(chance, 2))
    settings = FirstLevelLayout(lookahead=2)
    vocabulary = build_first_level_vocabulary([Direction("zh", "en")], UNITS, CODES, settings)
    writer = FirstLevelWriter(vocabulary, ("zh", "en"), settings, prompt_units=True)
    units = np.concatenate([example.prompt.units, example.target.units])
    (a, b, _), (d, e) = example.prompt.codes[0], example.target.codes[0]

    def name(index: int) -> str:
        return "-" if index == ABSENT else vocabulary.describe(index)

    written = writer.example(example)
    assert [name(index) for index in written.ids[:, 0]] == [*(f"units:{unit}" for unit in units), "-"]
    assert [name(index) for index in written.ids[:, 1]] == [*(f"units.ahead:{u}" for u in units[2:]), "-", "-", "-"]
    assert [name(index) for index in written.ids[:, 2]] == [
        "<begin>",
        f"codec.0:{a}",
        f"codec.0:{b}",
        "<begin>",
        f"codec.0:{d}",
        f"codec.0:{e}",
    ]
    assert written.loss_mask.tolist() == [False, True, True, False, True, True]
    assert writer.example(example, learn_prompt=False).loss_mask.tolist() == [False] * 4 + [True] * 2
    noisy = writer.example(replace(example, clean_prompt=False))
    assert (noisy.ids == written.ids).all()
    assert noisy.loss_mask.tolist() == [False] * 4 + [True] * 2
    hidden = replace(writer, prompt_units=False).example(example)
    assert [name(index) for index in hidden.ids[:3, 0]] == ["-"] * 3
    assert not hidden.loss_mask[:4].any()

    line = FirstLevelWriter(
        build_first_level_vocabulary([Direction("zh", "en")], UNITS, CODES, FirstLevelLayout(layout="line")),
        ("zh", "en"),
        FirstLevelLayout(layout="line"),
        prompt_units=True,
    )
    compiled = line.example(example)
    query = VoiceQuery(example.prompt, example.target.units, "en")
    assert tuple(compiled.ids[: -int(compiled.loss_mask.sum())]) == line.prompt(query)
    # As many frames as are said to fit into a row do, and no more.
    frames = line.frames(60)
    fitting = VoiceExample("k", random_speech(chance, 5, "zh"), random_speech(chance, frames - 5))
    assert 60 <= len(line.example(fitting).ids) <= 61


def batch_of(folder: Path, examples: list[VoiceExample]) -> tuple[CodeSpans, Batch]:
    from unitlm.shards import write_shard

    vocabulary = build_other_levels_vocabulary(UNITS, CODES)
    writer = OtherLevelsWriter(vocabulary, ("zh", "en"), prompt_units=True)
    write_shard(folder / "s.parquet", map(writer.example, examples), codebooks=1 + LEVELS)
    layout, _ = next(Packer(ShardSet(folder), Packing(2, 40, shifted=False)).layouts(DataPosition(0), epochs=1))
    return CodeSpans.of(vocabulary), layout.build()


def test_only_levels_below_are_seen_and_only_of_the_target_are_they_hidden(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    examples = [VoiceExample(str(n), random_speech(chance, 5, "zh"), random_speech(chance, 7 + n)) for n in range(4)]
    spans, batch = batch_of(tmp_path, examples)
    asked = batch.weights > 0
    assert int(asked.sum()) == sum(example.target.frames for example in examples)
    level = torch.tensor([1, 2])
    hidden = spans.hide(batch.ids, asked, level)
    for row in range(2):
        below = 1 + int(level[row])
        assert (hidden[row][~asked[row]] == batch.ids[row][~asked[row]]).all()
        assert (hidden[row, asked[row], :below] == batch.ids[row, asked[row], :below]).all()
        assert (hidden[row, asked[row], below:] == ABSENT).all()
    assert spans.ids(level)[1].tolist() == list(range(spans.start + 2 * SIZE, spans.start + 3 * SIZE))


def test_the_loss_of_a_level_is_its_cross_entropy(tmp_path: Path) -> None:
    """By hand, document by document: no packing, all of the vocabulary scored and then narrowed."""
    chance = np.random.default_rng(1)
    examples = [VoiceExample(str(n), random_speech(chance, 4, "zh"), random_speech(chance, 5 + n)) for n in range(4)]
    spans, batch = batch_of(tmp_path, examples)
    size = build_other_levels_vocabulary(UNITS, CODES).size
    from polyvoice.stages.presets import PRESETS

    config = PRESETS["tiny"]["other_levels"].model_config(size, causal=False, stages=LEVELS - 1, conditions=2)
    model = Decoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.2)
        loss, weight = LevelObjective(spans)(model, batch, torch.Generator().manual_seed(5))
        levels = torch.randint(1, LEVELS, (2,), generator=torch.Generator().manual_seed(5)).tolist()
        total = 0.0
        for row, level in enumerate(levels):
            for segment in set(batch.segments[row].tolist()) - {ABSENT}:
                mine = batch.segments[row] == segment
                steps, asked = batch.ids[row, mine][None], (batch.weights[row, mine] > 0)[None]
                assert batch.conditions is not None
                logits = model(
                    spans.hide(steps, asked, torch.tensor([level])),
                    conditions=batch.conditions[row, mine][None],
                    stage=torch.tensor([level - 1]),
                )[asked]
                first = spans.start + level * SIZE
                scores = logits[:, first : first + SIZE].log_softmax(-1)
                total -= float(scores.gather(1, steps[asked][:, 1 + level, None] - first).sum())
    assert float(weight) == sum(example.target.frames for example in examples)
    assert float(loss) == pytest.approx(total, rel=1e-4)


def test_noise_replaces_codes_of_the_target_by_codes_of_the_same_level(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    examples = [VoiceExample(str(n), random_speech(chance, 9, "zh"), random_speech(chance, 11)) for n in range(4)]
    spans, batch = batch_of(tmp_path, examples)
    asked = batch.weights > 0
    noisy = LevelObjective(spans, noise=0.5)._disturb(batch.ids, asked, torch.Generator().manual_seed(0))
    assert (noisy[~asked] == batch.ids[~asked]).all()
    assert (noisy[..., 0] == batch.ids[..., 0]).all()
    changed = (noisy != batch.ids)[asked][:, 1:].float().mean()
    assert 0.4 < float(changed) < 0.56  # half, less the draws that hit the code itself
    for level in range(LEVELS):
        codes = noisy[asked][:, 1 + level] - spans.start - level * SIZE
        assert codes.min() >= 0
        assert codes.max() < SIZE


def side(units: np.ndarray, codes: np.ndarray, language: str) -> Side:
    return Side(language, None, deduplicate(units), codes)


def make_pairs() -> list[SpokenPair]:
    """Codes that name their utterance, speaker 0 or 1, at 50 Hz both."""
    pairs = []
    for number in range(8):
        sides = []
        for offset, language in enumerate(("zh", "en")):
            codes = np.full((1, 90), 2 * number + offset)
            codes[0] += 100 * np.arange(90)
            sides.append(side(np.arange(90) // 3 % 10, codes, language))
        pairs.append(SpokenPair(str(number), sides[0], sides[1], f"s{number % 2}"))
    return [each for pair in pairs for each in (pair, reverse(pair))]


def test_prompts_come_from_the_other_side_a_partner_or_the_utterance_itself() -> None:
    settings = VoiceSettings(partner_share=1.0, split_share=1.0, prompt_frames=40)
    pairs = make_pairs()
    corpus = VoiceCorpus(pairs, Rates(50.0, 50.0), settings)
    partners = set()
    for row, pair in enumerate(pairs):
        assert pair.target.codes is not None
        assert pair.source.codes is not None
        own, other = int(pair.target.codes[0, 0]), int(pair.source.codes[0, 0])
        across, partner, split = corpus.examples(row, 0, longest=100)
        for example in (across, partner):
            assert (example.prompt.frames, example.target.frames) == (40, 60)  # a crop that fills the row
            assert set((example.target.codes[0] % 100).tolist()) == {own}
        assert set((across.prompt.codes[0] % 100).tolist()) == {other}
        assert (across.prompt.language, across.target.language) == (pair.source.language, pair.target.language)
        (lender,) = set((partner.prompt.codes[0] % 100).tolist())
        assert lender != own
        assert lender % 4 == own % 4  # the same speaker and language
        assert partner.prompt.language == pair.target.language
        partners.add((own, lender))
        # The pieces of a split touch: the second begins where the first ends.
        assert split.prompt.frames <= 40
        assert split.prompt.codes[0, -1] + 100 == split.target.codes[0, 0] or split.target.frames == 60
        assert set((split.prompt.codes[0] % 100).tolist()) == {own}
        repeated = list(corpus.examples(row, 0, longest=100))
        assert (repeated[0].prompt.codes == across.prompt.codes).all()
    assert len(partners) == 16
    drawn = [next(iter(corpus.examples(0, number, longest=100))).prompt.codes[0, 0] for number in range(6)]
    assert len(set(drawn)) > 1  # another crop in another pass


def test_the_noisy_source_of_a_copy_is_heard_but_not_learned() -> None:
    settings = VoiceSettings(partner_share=1.0, split_share=1.0, prompt_frames=40)
    pairs = make_pairs()
    copies = [replace(pair, id=name_copy(pair.id, 1)) for pair in pairs]
    for rows, clean in ((pairs, True), (copies, False)):
        corpus = VoiceCorpus(rows, Rates(50.0, 50.0), settings)
        # The prompts of the other two are targets, which are clean in a copy, too.
        assert [example.clean_prompt for example in corpus.examples(0, 0, longest=100)] == [clean, True, True]


def test_without_a_speaker_both_sides_are_two_people() -> None:
    unknown = [replace(pair, speaker=None) for pair in make_pairs()]
    for split_share in (0.0, 1.0):
        corpus = VoiceCorpus(unknown, Rates(50.0, 50.0), VoiceSettings(partner_share=1.0, split_share=split_share))
        for row, pair in enumerate(unknown):
            assert pair.target.codes is not None
            [split] = corpus.examples(row, 0, longest=400)
            assert set((split.prompt.codes[0] % 100).tolist()) == {int(pair.target.codes[0, 0])}
    short = replace(unknown[0], target=side(np.arange(40) // 3 % 10, np.arange(40)[None], "en"))  # .8 s
    assert len(VoiceCorpus([unknown[0], short], Rates(50.0, 50.0), VoiceSettings())) == 1
    assert len(VoiceCorpus([replace(short, speaker="s")], Rates(50.0, 50.0), VoiceSettings())) == 1


def test_a_recording_is_never_the_prompt_of_itself() -> None:
    """Two pairs share their target, as when one translation belongs to two originals."""
    first, _, second, *_ = make_pairs()
    settings = VoiceSettings(partner_share=1.0, split_share=0.0)
    shared = [first, replace(second, target=first.target, speaker=first.speaker)]
    corpus = VoiceCorpus(shared, Rates(50.0, 50.0), settings)
    assert [len(list(corpus.examples(row, 0, longest=400))) for row in range(2)] == [1, 1]


def test_units_and_codes_of_different_speech_are_refused() -> None:
    units = np.zeros(100, np.int64)  # 2 s
    drifted = to_speech(side(units, np.zeros((1, 140), np.int64), "zh"), RATES, "pair 7, zh")
    assert drifted is not None
    assert drifted.frames == 140  # the codes decide
    with pytest.raises(InputError, match=r"pair 7, zh: units of 2\.00 s, codes of 1\.33 s"):
        to_speech(side(units, np.zeros((1, 100), np.int64), "zh"), RATES, "pair 7, zh")
    assert to_speech(Side("zh", "text", None, None), RATES, "") is None


@given(st.integers(1, 400), st.sampled_from([(50.0, 75.0), (50.0, 50.0), (50.0, 12.5), (25.0, 86.1)]))
def test_units_are_stretched_evenly(frames: int, rates: tuple[float, float]) -> None:
    each = Rates(*rates)
    units = np.arange(frames)
    wanted = each.codec_frames(frames)
    stretched = each.stretch_units(units, wanted)
    assert wanted == max(round(frames * rates[1] / rates[0]), 1)
    assert stretched.shape == (wanted,)
    assert (np.diff(stretched) >= 0).all()
    ratio = rates[1] / rates[0]
    for frame, unit in enumerate(stretched.tolist()):
        middle = (frame + 0.5) / ratio
        assert unit <= middle < unit + 1 or (unit == frames - 1 and middle >= unit)
