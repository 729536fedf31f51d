"""The translation model: what it is shown, that it learns every task at once, and how it answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.cli.main import run
from polyvoice.corpus.copies import is_copy, name_copy
from polyvoice.corpus.manifest import read_manifest, write_manifest
from polyvoice.errors import InputError
from polyvoice.evaluation.sequences import count_edits
from polyvoice.spoken import Side, SpokenPair, load_pairs, reverse
from polyvoice.stages.directions import find_directions, orient_pairs
from polyvoice.stages.stage_folder import read_stage
from polyvoice.stages.translate.data import (
    build_vocabulary,
    disturb_units,
    make_examples,
    without_chance,
    write_pair_shards,
)
from polyvoice.stages.translate.decoding import TranslateOptions, UnitTranslator
from polyvoice.stages.translate.memory import TranslationMemory
from polyvoice.stages.translate.opposite import choose_explaining
from polyvoice.stages.translate.scoring import score_pairs
from polyvoice.stages.translate.settings import CorpusSettings
from polyvoice.tasks import Direction, recognize_speech, speak_text, translate_speech_by_text, translate_text
from speechunits.runs import deduplicate
from unitlm.checkpoint import load_model
from unitlm.generate import Continuation
from unitlm.metrics import read_metrics
from unitlm.shards import ShardSet
from unitlm.vocabulary import Vocabulary

TINY = ["--preset", "tiny", "--pieces", "300", "--passes", "2", "--noise-share", "0", "--precision", "fp32"]
TINY += ["--asr-share", "1", "--mt-share", "1", "--tts-share", "1", "--st-share", "1", "--average-decay", "0.9"]
TINY += ["--batch-rows", "8", "--sequence-length", "128", "--evaluate-every", "0"]
TINY += ["--checkpoint-every", "0", "--learning-rate", "5e-3", "--optimizer", "muon", "--device", "cpu"]


def train(corpus: tuple[Path, Path], out: Path, *options: str) -> Path:
    assert run(["train", "translate", *map(str, corpus), str(out), *TINY, *options]) == 0
    return out / "model"


@pytest.fixture(scope="module")
def folder(toy_corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows twenty pairs by heart, in both directions."""
    return train(toy_corpus, tmp_path_factory.mktemp("translate") / "run", "--steps", "150")


@pytest.fixture(scope="module")
def prefix_folder(toy_corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy_corpus, tmp_path_factory.mktemp("prefix") / "run", "--steps", "12", "--prefix-lm")


@pytest.fixture(scope="module")
def translator(folder: Path) -> UnitTranslator:
    return UnitTranslator.load(folder)


@pytest.fixture(scope="module")
def pairs(toy_corpus: tuple[Path, Path]) -> list[SpokenPair]:
    """All training pairs, in both directions."""
    return [each for pair in load_pairs(*toy_corpus, "train") for each in (pair, reverse(pair))]


def units_of(side: Side) -> np.ndarray:
    assert side.runs is not None
    return side.runs.units


def test_one_checkpoint_knows_every_task_in_every_direction(
    translator: UnitTranslator, pairs: list[SpokenPair]
) -> None:
    assert set(map(str, translator.card.directions)) == {"zh-en", "en-zh", "en-es", "es-en"}
    for pair in pairs[::3]:
        source, target = pair.source, pair.target
        heard, said = units_of(source), units_of(target)
        assert translator.recognize(heard, source.language) == source.text
        assert translator.translate_text(source.text or "", source.language, target.language) == target.text
        assert translator.speak_text(target.text or "", target.language).tolist() == said.tolist()
        assert translator.translate_to_text(heard, source.language, target.language) == target.text


@pytest.mark.parametrize("route", ["direct", "chain"])
def test_speech_is_translated_on_both_routes_alone_and_in_a_batch(
    translator: UnitTranslator, pairs: list[SpokenPair], route: str
) -> None:
    options = TranslateOptions(route=route)  # type: ignore[arg-type]
    for way in translator.card.directions:
        chosen = [pair for pair in pairs if (pair.source.language, pair.target.language) == (way.source, way.target)]
        assert len(chosen) == 10
        batch = [units_of(pair.source) for pair in chosen]
        answers = translator.translate_batch(batch, way.source, way.target, options=options)
        for pair, answer in zip(chosen, answers, strict=True):
            assert answer.units.tolist() == units_of(pair.target).tolist()
            assert answer.ended
            texts = (pair.source.text, pair.target.text) if route == "chain" else (None, None)
            assert (answer.text_heard, answer.text_said) == texts
        alone = translator.translate(batch[0], way.source, way.target, options=options)
        assert alone.units.tolist() == answers[0].units.tolist()
        assert alone.log_probability == pytest.approx(answers[0].log_probability, abs=1e-4)
        # By way of text two texts are written before the units.
        assert alone.log_probability <= alone.units_log_probability <= 0.0
        assert (alone.log_probability == alone.units_log_probability) == (route == "direct")


def test_beams_find_what_is_learned(translator: UnitTranslator, pairs: list[SpokenPair]) -> None:
    pair = pairs[0]
    units, way = units_of(pair.source), (pair.source.language, pair.target.language)
    beams = translator.translate(units, *way, options=TranslateOptions(beams=3, route="chain"))
    assert beams.units.tolist() == units_of(pair.target).tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_several_views_of_an_utterance_are_read_as_one(
    translator: UnitTranslator, pairs: list[SpokenPair], beams: int
) -> None:
    pair, other = pairs[0], next(each for each in pairs if each.source.text != pairs[0].source.text)
    units, way = units_of(pair.source), (pair.source.language, pair.target.language)
    how = TranslateOptions(route="chain", beams=beams)
    alone = translator.translate(units, *way, options=how)
    twice = translator.translate_views([units, units], *way, options=how)
    assert (twice.text_heard, twice.units.tolist()) == (alone.text_heard, alone.units.tolist())
    assert twice.log_probability == pytest.approx(alone.log_probability, abs=1e-3)
    # One view in three says something else, and is outvoted; two that differ in a unit each are read alike.
    misheard = translator.translate_views([units, units_of(other.source), units], *way, options=how)
    assert misheard.text_heard == pair.source.text
    assert misheard.log_probability < twice.log_probability
    changed = [np.delete(units, 1), np.delete(units, -2)]
    assert translator.translate_views(changed, *way, options=how).text_heard == pair.source.text
    with pytest.raises(InputError, match="nothing to read"):
        translator.translate_views([units, units[:0]], *way, options=how)


def test_transcripts_are_weighed_by_what_was_heard(
    translator: UnitTranslator, pairs: list[SpokenPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[0]
    units, way = units_of(pair.source), (pair.source.language, pair.target.language)
    how = TranslateOptions(route="chain", hypotheses=3)
    assert translator.translate(units, *way, options=how).text_heard == pair.source.text
    assert translator.recognize(units, way[0], options=how) == pair.source.text
    # Another sentence is a little more probable, but nobody would say it so.
    other = next(each.source.text for each in pairs if each.source.language == way[0] and each != pair)
    spelled = tuple(translator._vocabulary.encode(f"{way[0]}.text", other or ""))
    search, beams = translator._search, []

    def search_wrongly(*arguments: Any) -> list[list[Continuation]]:
        _, slot, options = arguments
        found = search(*arguments)
        if slot.name not in ("heard", "text"):
            return found
        beams.append(options.beams)
        wrong = [Continuation(spelled, hypotheses[0].log_probability + 0.5, ended=True) for hypotheses in found]
        return [[first, *hypotheses] for first, hypotheses in zip(wrong, found, strict=True)]

    monkeypatch.setattr(translator, "_search", search_wrongly)
    views = [units, np.delete(units, 1)]
    assert translator.translate_views(views, *way, options=how).text_heard == pair.source.text
    assert translator.recognize(units, way[0], options=how) == pair.source.text
    assert translator.translate_views(views, *way, options=replace(how, hypotheses=1)).text_heard == other
    assert translator.translate(units, *way, options=replace(how, beams=5)).text_heard == pair.source.text
    assert beams == [3, 3, 1, 5]
    # Who has not learned to speak cannot tell.
    monkeypatch.setattr(translator, "_lines", translator._lines - {speak_text(way[0]).line})
    assert translator.translate_views(views, *way, options=how).text_heard == other


def test_translations_are_weighed_by_what_they_translate(
    translator: UnitTranslator, pairs: list[SpokenPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[0]
    units, way = units_of(pair.source), (pair.source.language, pair.target.language)
    how = TranslateOptions(route="chain", hypotheses=3)
    other = next(each.target.text or "" for each in pairs if each.target.language == way[1] and each != pair)
    spelled = tuple(translator._vocabulary.encode(f"{way[1]}.text", other))
    search = translator._search

    def search_wrongly(*arguments: Any) -> list[list[Continuation]]:
        _, slot, _ = arguments
        found = search(*arguments)
        if slot.name not in ("said", "tgt"):
            return found
        wrong = [Continuation(spelled, hypotheses[0].log_probability + 0.5, ended=True) for hypotheses in found]
        return [[first, *hypotheses] for first, hypotheses in zip(wrong, found, strict=True)]

    monkeypatch.setattr(translator, "_search", search_wrongly)
    heard = pair.source.text or ""
    assert translator.translate(units, *way, options=how).text_said == pair.target.text
    assert translator.translate_text(heard, *way, options=how) == pair.target.text
    assert translator.translate_text(heard, *way, options=replace(how, hypotheses=1, beams=2)) == other
    # From units alone there is no text to come back to.
    assert translator.translate_to_text(units, *way, options=replace(how, beams=2)) == other
    # Who has not learned to translate back cannot tell.
    monkeypatch.setattr(translator, "_lines", translator._lines - {translate_text(*reversed(way)).line})
    assert translator.translate_text(heard, *way, options=replace(how, beams=2)) == other


@pytest.mark.parametrize("gap", [-0.2, 0.2])
@pytest.mark.parametrize("of_speech", [True, False])
def test_what_was_given_counts_with_a_part_of_its_log_probability(
    folder: Path, pairs: list[SpokenPair], gap: float, of_speech: bool
) -> None:
    translator, model = UnitTranslator.load(folder, precision="fp32"), load_model(folder)
    vocabulary, pair = translator._vocabulary, pairs[0]
    language, target, units = pair.source.language, pair.target.language, units_of(pair.source).tolist()
    # Three views at most are counted, which have the same say; of a sentence there is one.
    views = [units, units[1:], units[:-1], units[:3]] if of_speech else [pair.target.text or ""]
    channel = speak_text(language) if of_speech else translate_text(language, target)
    weight, asked = (0.5, "units") if of_speech else (0.3, f"{target}.text")
    texts = [each.source.text or "" for each in pairs if each.source.language == language][:2]
    start, stop = vocabulary.span(asked)

    def explain(text: str, view: Any) -> float:
        prompt = channel.prompt({channel.slots[0].name: text}, vocabulary).ids
        answer = list(vocabulary.encode(asked, view))
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *answer]]))[0, len(prompt) - 1 :]
        among = torch.cat([logits[:, start:stop], logits[:, vocabulary.end, None]], dim=1).log_softmax(dim=1)
        columns = torch.tensor([*(each - start for each in answer), stop - start])
        return float(among.gather(1, columns[:, None]).sum())

    counted = views[:3]
    explained = [sum(explain(text, view) for view in counted) / len(counted) for text in texts]
    assert abs(explained[0] - explained[1]) > 1
    chances = [-3.0, -3.0 + weight * (explained[0] - explained[1]) + gap]
    hypotheses = [
        Continuation(tuple(vocabulary.encode(f"{language}.text", text)), chance, ended=True)
        for text, chance in zip(texts, chances, strict=True)
    ]
    best = choose_explaining(translator._model, vocabulary, hypotheses, views, channel)
    assert best == hypotheses[gap > 0]
    # What says nothing explains nothing, and who is alone needs no reasons.
    nothing = Continuation((), 0.0, ended=True)
    assert choose_explaining(translator._model, vocabulary, [nothing, hypotheses[0]], views, channel) == hypotheses[0]
    assert choose_explaining(translator._model, vocabulary, [nothing], views, channel) == nothing


def test_units_are_chosen_in_which_the_model_recognises_the_text(
    translator: UnitTranslator, pairs: list[SpokenPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[0]
    units, way = units_of(pair.source), (pair.source.language, pair.target.language)
    right = units_of(pair.target)
    how = TranslateOptions(route="chain", candidates=4)
    assert translator.translate(units, *way, options=how).units.tolist() == right.tolist()
    # What is most probable goes wrong: half of it is missing. A draw is right, and is recognised.
    write, calls = translator._generate, []

    def write_wrongly(*arguments: Any) -> list[Continuation]:
        written = write(*arguments)
        slot = arguments[1]
        calls.append((slot.name, len(written), len(arguments) > 2))
        if slot.name != "tgt":
            return written
        return [one if n == 1 else replace(one, ids=one.ids[: len(one.ids) // 2]) for n, one in enumerate(written)]

    monkeypatch.setattr(translator, "_generate", write_wrongly)
    assert translator.translate(units, *way, options=how).units.tolist() == right.tolist()
    assert calls == [("heard", 1, False), ("said", 1, False), ("tgt", 1, False), ("tgt", 3, True)]
    calls.clear()
    alone = translator.translate(units, *way, options=TranslateOptions(route="chain"))
    assert alone.units.tolist() == right[: len(right) // 2].tolist()
    # Who has not learned to listen draws nothing.
    calls.clear()
    monkeypatch.setattr(translator, "_lines", translator._lines - {recognize_speech(pair.target.language).line})
    deaf = translator.translate(units, *way, options=how)
    assert deaf.units.tolist() == right[: len(right) // 2].tolist()
    assert len(calls) == 3


def test_output_is_limited_by_the_length_of_the_source(translator: UnitTranslator, pairs: list[SpokenPair]) -> None:
    pair = pairs[0]
    way = (pair.source.language, pair.target.language)
    short = TranslateOptions(longest_ratio=0.5, longest_extra=1)
    cut = translator.translate(units_of(pair.source), *way, options=short)
    assert cut.units.tolist() == units_of(pair.target)[: len(units_of(pair.source)) // 2 + 1].tolist()
    assert not cut.ended
    longer = next(other for other in pairs[::2] if len(units_of(other.source)) > len(units_of(pair.source)))
    if (longer.source.language, longer.target.language) == way:
        batch = translator.translate_batch([units_of(pair.source), units_of(longer.source)], *way, options=short)
        assert batch[0].units.tolist() == cut.units.tolist()


def test_what_was_not_learned_is_refused(translator: UnitTranslator) -> None:
    units = np.array([1, 2], dtype=np.int64)
    with pytest.raises(InputError, match=r"not trained to 'translate zh \{src:units\} to es"):
        translator.translate(units, "zh", "es")
    with pytest.raises(InputError, match="nothing to read"):
        translator.translate(units[:0], "zh", "en")
    for wrong in (
        {"beams": 0},
        {"candidates": 0},
        {"hypotheses": 0},
        {"longest_ratio": -1.0},
    ):
        with pytest.raises(InputError):
            TranslateOptions(**wrong)  # type: ignore[arg-type]


def test_error_rates_are_counted_on_both_routes(
    folder: Path, pairs: list[SpokenPair], toy_corpus: tuple[Path, Path]
) -> None:
    names = {"unit_error_rate", "unit_error_rate_chain", "heard_error_rate", "said_error_rate"}
    assert score_pairs(folder, pairs, "cpu") == dict.fromkeys(names, 0.0)
    # Said to be the translation of something else: every unit of the other side counts, texts are compared too.
    first, second = (pair for pair in pairs if pair.id in ("pair0", "pair2") and pair.source.language == "en")
    wrong = replace(first, target=second.target)
    scores = score_pairs(folder, [wrong], "cpu")
    distance = count_edits(units_of(first.target).tolist(), units_of(second.target).tolist())
    assert scores["unit_error_rate"] == distance / len(units_of(second.target))
    assert scores["heard_error_rate"] == 0.0
    assert scores["said_error_rate"] > 0.0
    # Those of the split dev stand at the end of the run's diary.
    dev = [each for pair in load_pairs(*toy_corpus, "dev") for each in (pair, reverse(pair))]
    last = read_metrics(folder.parent / "train")[-1]
    assert {name: last[name] for name in names} == pytest.approx(score_pairs(folder, dev, "cpu"))


def test_the_stage_says_what_it_is(folder: Path) -> None:
    card = read_stage(folder, "translate")
    assert (card.units.encoder, card.units.clusters, card.codes) == ("toy encoder", 72, None)
    assert (card.trained_on.pairs, card.trained_on.step) == (20, 150)
    assert card.trained_on.held_out_loss is not None
    assert card.parameters == sum(parameter.numel() for parameter in load_model(folder).parameters())
    with pytest.raises(InputError, match="expected 'duration'"):
        read_stage(folder, "duration")
    with pytest.raises(InputError, match="not a finished stage"):
        read_stage(folder.parent)


def test_a_run_is_not_continued_with_other_settings(
    folder: Path, toy_corpus: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    command = ["train", "translate", *map(str, toy_corpus), str(folder.parent), *TINY]
    for change, words in (
        (["--steps", "150", "--mt-share", "0.5"], ("prepared.json", "mt_share = 1.0, not 0.5")),
        (["--steps", "90"], ("run.json", "train.steps")),
    ):
        assert run([*command, *change]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert len(errors.strip().splitlines()) == 1
        assert all(word in errors for word in words), errors


def test_bad_input_is_one_line(
    toy_corpus: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, extracted = toy_corpus
    other = tmp_path / "other.tsv"
    other.write_text(manifest.read_text().replace("0-en.wav", "absent.wav"))
    cases: list[tuple[tuple[Path, Path], list[str], str]] = [
        ((manifest, tmp_path), [], "nothing extracted"),
        ((tmp_path / "absent.tsv", extracted), [], "absent.tsv"),
        ((other, extracted), [], "audio files of"),
        ((manifest, extracted), ["--directions", "zh-es"], "no pair is of direction zh-es"),
        ((manifest, extracted), ["--directions", "zhes"], "'zhes' is not written like"),
        ((manifest, extracted), ["--warmup-steps", "30"], "warmup_steps + decay_steps"),
    ]
    for number, (corpus, options, words) in enumerate(cases):
        out = tmp_path / f"run{number}"
        assert run(["train", "translate", *map(str, corpus), str(out), *TINY, "--steps", "20", *options]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert len(errors.splitlines()) == 1
        assert words in errors


def test_an_unwritten_language_is_translated_without_text(toy_corpus: tuple[Path, Path], tmp_path: Path) -> None:
    folder = train(toy_corpus, tmp_path / "run", "--steps", "12", "--text", "none", "--directions", "zh-en")
    assert list(Vocabulary.load(folder / "vocabulary.json").alphabets) == ["units"]
    assert read_stage(folder).settings["tasks"] == ["translate zh {src:units} to en {tgt:units!}"]
    translator = UnitTranslator.load(folder)
    assert translator.translate(np.array([3, 4, 5]), "zh", "en").units.dtype == np.int64
    with pytest.raises(InputError, match="not trained"):
        translator.translate(np.array([3, 4, 5]), "zh", "en", options=TranslateOptions(route="chain"))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prefix_lm_is_decoded_as_it_was_trained(prefix_folder: Path, beams: int) -> None:
    model, vocabulary = load_model(prefix_folder), Vocabulary.load(prefix_folder / "vocabulary.json")
    assert model.config.prefix_lm
    units = np.array([3, 4, 5, 9, 10, 11])
    how = TranslateOptions(route="chain", beams=beams)
    answer = UnitTranslator.load(prefix_folder, precision="fp32").translate(units, "zh", "en", options=how)
    # The chain in one pass, as in training: only what comes before the first text is seen both ways.
    values = {"src": units.tolist(), "heard": answer.text_heard, "said": answer.text_said, "tgt": answer.units.tolist()}
    compiled = translate_speech_by_text("zh", "en").compile(values, vocabulary)  # type: ignore[arg-type]
    ids = torch.tensor([compiled.ids])
    given = compiled.loss_mask.index(True)
    with torch.inference_mode():
        logits = model(ids, prompt=(torch.arange(ids.shape[1]) < given).unsqueeze(0))[0]
        causal = model(ids, prompt=torch.zeros_like(ids, dtype=torch.bool))[0]
    assert not torch.allclose(logits[:given], causal[:given], atol=1e-3)
    total = 0.0
    for span in compiled.spans:
        if span.slot.generated:
            first, stop = vocabulary.span(span.slot.alphabet)
            allowed = [*range(first, stop), vocabulary.end]
            for position in range(span.start, span.stop + answer.ended):
                scores = torch.log_softmax(logits[position - 1, allowed], dim=-1)
                total += float(scores[allowed.index(compiled.ids[position])])
    assert answer.log_probability == pytest.approx(total, abs=1e-3)


def test_draws_depend_on_seed_pass_and_row_alone(toy_corpus: tuple[Path, Path], pairs: list[SpokenPair]) -> None:
    settings = CorpusSettings(text="bytes", asr_share=0.5, noise_share=0.5)
    vocabulary = build_vocabulary(read_manifest(toy_corpus[0]), find_directions(pairs, []), 72, settings)

    def lines(number: int, row: int, some: CorpusSettings = settings) -> list[tuple[int, ...]]:
        return [tuple(each.ids.tolist()) for each in make_examples(pairs[row], vocabulary, some, number, row)]

    assert lines(1, 3) == lines(1, 3)
    passes = [lines(number, 3) for number in range(20)]
    assert len(set(map(str, passes))) > 5
    shown = np.mean([[len(lines(number, row)) for number in range(20)] for row in range(10)])
    assert shown == pytest.approx(1 + 4 * 0.5 + 1, abs=0.5)
    assert all(len(lines(0, row, without_chance(settings))) == 6 for row in range(10))


def test_stretches_that_can_show_nothing_are_left_out(
    toy_corpus: tuple[Path, Path], pairs: list[SpokenPair], tmp_path: Path
) -> None:
    """Text behind speech, of which a model without text learns nothing."""
    settings = CorpusSettings(text="none", passes=1, rows_per_shard=4)
    vocabulary = build_vocabulary(read_manifest(toy_corpus[0]), find_directions(pairs, []), 72, settings)
    written = [
        replace(pair, source=replace(pair.source, runs=None), target=replace(pair.target, runs=None)) for pair in pairs
    ]

    def write(name: str, some: list[SpokenPair]) -> list[tuple[int, ...]]:
        write_pair_shards(
            tmp_path / name, some, vocabulary, settings, memory=TranslationMemory(()), longest=500, provenance="p"
        )
        shards = ShardSet(tmp_path / name)
        rows = [(shards.load(number), row) for number, info in enumerate(shards.infos) for row in range(info.rows)]
        return [tuple(shard[row].ids.tolist()) for shard, row in rows]

    assert write("both", [*pairs[:8], *written[:8]]) == write("spoken", pairs[:8])
    with pytest.raises(InputError, match="no pair can show any of the tasks"):
        write("written", written[:8])


def test_held_out_pairs_that_can_show_nothing_are_not_watched(
    toy_corpus: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Speech to train on, and text alone in the split dev, of which a model without text learns nothing."""
    rows = read_manifest(toy_corpus[0])
    mute = [replace(row, source_audio=None, target_audio=None) if row.split == "dev" else row for row in rows]
    manifest = toy_corpus[0].with_name("mute.tsv")  # beside the other, as the extracted files are named from there
    write_manifest(manifest, mute)
    train((manifest, toy_corpus[1]), tmp_path / "run", "--steps", "2", "--text", "none")
    assert "no held-out pair can show a task that is learned" in capsys.readouterr().err
    assert read_stage(tmp_path / "run" / "model").trained_on.held_out_loss is None


def test_pairs_show_what_they_have(toy_corpus: tuple[Path, Path], pairs: list[SpokenPair]) -> None:
    settings = without_chance(CorpusSettings(text="bytes"))
    whole = pairs[0]
    way = Direction(whole.source.language, whole.target.language)
    vocabulary = build_vocabulary(read_manifest(toy_corpus[0]), [way], 72, settings)

    def silent(side: Side) -> Side:
        return Side(side.language, side.text, None, None)

    def unwritten(side: Side) -> Side:
        return Side(side.language, None, side.runs, side.codes)

    def first_words(source: Side, target: Side) -> list[str]:
        pair = SpokenPair("x", source, target, None)
        return [example.key.split(" ", 1)[1] for example in make_examples(pair, vocabulary, settings, 0, 0)]

    source, target = way.source, way.target
    assert len(first_words(whole.source, whole.target)) == 6
    texts_only = first_words(silent(whole.source), silent(whole.target))
    assert texts_only == [f"translate {{src:{source}.text}} to {{tgt:{target}.text!}}"]
    speech_only = first_words(unwritten(whole.source), unwritten(whole.target))
    assert speech_only == [f"translate {source} {{src:units}} to {target} {{tgt:units!}}"]
    assert len(first_words(unwritten(whole.source), whole.target)) == 3  # S2ST, TTS, ST


def test_directions_are_the_manifests_and_their_opposites(pairs: list[SpokenPair]) -> None:
    forth = [pair for pair in pairs if pair.source.language == "zh"]
    assert list(map(str, find_directions(forth, []))) == ["zh-en", "en-zh"]
    assert list(map(str, find_directions(forth, ["en-zh"]))) == ["en-zh"]
    oriented = orient_pairs(forth, find_directions(forth, ["en-zh"]))
    assert [pair.source.language for pair in oriented] == ["en"] * len(forth)
    assert [pair.id for pair in oriented] == [pair.id for pair in forth]


def test_augmented_copies_are_never_turned_round(pairs: list[SpokenPair]) -> None:
    """Their sources are noisy: as targets they would teach to speak with noise."""
    forth = [pair for pair in pairs if pair.source.language == "zh"]
    copies = [replace(pair, id=name_copy(pair.id, 1)) for pair in forth]
    back = [replace(reverse(pair), id=name_copy(pair.id, 2, back=True)) for pair in forth]
    merged = [replace(pair, id=f"{name_copy(pair.id, 3)}@2") for pair in forth]
    assert list(map(str, find_directions(copies, []))) == ["zh-en"]
    with pytest.raises(InputError, match="no pair is of direction en-zh; there are zh-en"):
        find_directions(copies, ["en-zh"])
    ways = find_directions([*forth, *copies], [])
    assert list(map(str, ways)) == ["zh-en", "en-zh"]
    oriented = orient_pairs([*forth, *copies, *back, *merged], ways)
    assert len(oriented) == 2 * len(forth) + 3 * len(forth)
    assert [one for one in oriented if is_copy(one.id)] == [*copies, *back, *merged]


@pytest.mark.parametrize("key", ["a", "a~", "a~b", "~a1", "a~1b", "a~1~backwards", "a~back", "a@2"])
def test_other_ids_are_no_copies(key: str) -> None:
    assert not is_copy(key)
    assert is_copy(name_copy(key, 12))
    assert is_copy(name_copy(key, 1, back=True))


@given(units=st.lists(st.integers(0, 19), min_size=1, max_size=60), rate=st.floats(0, 1), seed=st.integers(0, 9))
def test_disturbed_units_have_no_repeats_and_are_never_none(units: list[int], rate: float, seed: int) -> None:
    clean = deduplicate(units).units
    disturbed = disturb_units(clean, 20, rate, np.random.default_rng(seed))
    assert 1 <= disturbed.size <= clean.size
    assert (np.diff(disturbed) != 0).all()
    assert set(disturbed.tolist()) <= set(range(20))
    assert disturb_units(clean, 20, 0.0, np.random.default_rng(seed)).tolist() == clean.tolist()


def test_noise_disturbs_the_share_that_was_asked_for() -> None:
    clean = np.arange(10_000, dtype=np.int64) % 997
    disturbed = disturb_units(clean, 1_000_000, 0.2, np.random.default_rng(0))
    assert 0.08 < 1 - disturbed.size / clean.size < 0.12
    assert 0.09 < np.mean(disturbed >= 997) < 0.13


def test_the_manifest_and_what_was_extracted_become_pairs(toy_corpus: tuple[Path, Path]) -> None:
    manifest, extracted = toy_corpus
    train_pairs, dev = load_pairs(manifest, extracted, "train"), load_pairs(manifest, extracted, "dev")
    assert (len(train_pairs), len(dev), load_pairs(manifest, extracted, "test")) == (20, 4, [])
    first = train_pairs[0]
    assert (first.id, first.source.language, first.target.language, first.speaker) == ("pair0", "en", "es", "s1")
    assert first.source.runs is not None
    assert first.source.codes is not None
    assert first.source.codes.shape == (2, first.source.runs.lengths.sum())
    assert load_pairs(manifest, extracted, "dev", with_codes=False)[0].source.codes is None
    assert reverse(reverse(first)) == first or reverse(reverse(first)).source is first.source
    assert json.dumps(units_of(first.source).tolist()) == json.dumps(deduplicate(units_of(first.source)).units.tolist())


def test_a_pair_is_shown_as_it_is_trained_on(
    folder: Path, toy_corpus: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for place in (folder, folder.parent):  # a finished stage, and its run
        assert run(["tasks", *map(str, toy_corpus), str(place), "--id", "pair3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    pair = next(pair for pair in load_pairs(*toy_corpus, "train") if pair.id == "pair3")
    [speech] = [task for task in told["tasks"] if task["line"] == "translate zh {src:units} to en {tgt:units!}"]
    source, target = ([f"units:{unit}" for unit in units_of(side)] for side in (pair.source, pair.target))
    given = ["<begin>", "translate", "zh", "<units>", *source, "<end>", "to", "en", "<units>"]
    assert speech["tokens"] == [*given, *target, "<end>"]
    assert speech["learned"] == [False] * len(given) + [True] * (len(target) + 1)
    assert len(told["tasks"]) == 6
    assert run(["tasks", *map(str, toy_corpus), str(folder), "--id", "pair3", "--reverse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "translate en {src:units} to zh {tgt:units!}"
    assert lines[1].startswith("    <begin> translate en <units> units:")
    assert lines[1].endswith("* <end>*")
    assert run(["tasks", *map(str, toy_corpus), str(folder), "--id", "nobody"]) == 2
    assert "no pair has the id 'nobody'" in capsys.readouterr().err
    assert run(["tasks", *map(str, toy_corpus), str(folder.parents[1])]) == 2
    assert "neither a bundle nor a translation model" in capsys.readouterr().err
