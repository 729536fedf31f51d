"""A run asks each row once, never shows a row its own answer, and is only continued as it was begun."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import molregpt.backends
from molindex.smiles import canonical_smiles
from molregpt.backends import BackendOptions, BudgetError, Prices, ServerOptions
from molregpt.data.shipped import sample_pairs
from molregpt.database import Database
from molregpt.errors import InputError
from molregpt.evaluation.evaluate import evaluate_pairs
from molregpt.evaluation.options import EvaluationOptions
from molregpt.evaluation.results import Evaluation
from molregpt.metrics.captions import score_captions
from molregpt.records import Answer, Direction, Pair, Question, Usage
from molregpt.report.evaluate import evaluate
from molregpt.retrieval.strategies import create_retriever

PAIRS = sample_pairs()[:30]
TEST = PAIRS[:12]


class Recorder:
    """A back end that notes what it is asked, waits a little, and may fail."""

    def __init__(self, fail_on: str = "", wait_s: float = 0.0) -> None:
        self.questions: list[Question] = []
        self.fail_on = fail_on
        self.wait_s = wait_s
        self.open = self.most_open = 0
        self.closed = False

    identity = "recorder"

    async def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            # later rows answer sooner, so that rows do not arrive in order
            await asyncio.sleep(self.wait_s / len(self.questions))
            if question.query == self.fail_on:
                raise InputError("the server is gone")
            return Answer(f"{question.query}!", "model", 1, Usage(requests=1, prompt_tokens=7))
        finally:
            self.open -= 1

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(PAIRS, cache=tmp_path / "cache")


def _evaluate(
    backend: Recorder, database: Database, out: Path, monkeypatch: pytest.MonkeyPatch, direction: Direction = "mol2cap",
    pairs: list[Pair] = TEST, concurrency: int = 8, **options: Any,
) -> Evaluation:  # fmt: skip
    monkeypatch.setattr(molregpt.backends, "create_backend", lambda spec, settings, pool: backend)
    settings = BackendOptions(server=ServerOptions(concurrency=concurrency))
    return evaluate_pairs(direction, pairs, database, out, "recorder", EvaluationOptions(**options), settings)


def test_a_budget_is_for_all_runs_together(chat_server: Any, database: Database, tmp_path: Path) -> None:
    """Of three replies that cost 1 each and of what was spent before."""
    chat_server.default = chat_server.step(chat_server.body('{"caption": "x"}', prompt_tokens=10, tokens=100))
    prices = Prices(completion_price=10_000)

    def go(out: str, spent: float = 0.0) -> None:
        server = ServerOptions(model="m", max_tokens=100, concurrency=1, prices=prices, budget=3.5)
        arguments = (TEST, database, tmp_path / out, chat_server.url, EvaluationOptions(shots=1))
        evaluate_pairs("mol2cap", *arguments, BackendOptions(server=server), Usage(cost=spent))

    for _ in range(2):
        with pytest.raises(BudgetError, match=r"budget of 3\.5 reached: 3 is spent"):
            go("one")
    assert len(chat_server.requests) == 3
    with pytest.raises(BudgetError, match=r"budget of 3\.5 reached: 3 is spent"):
        go("other", spent=2.0)
    assert len(chat_server.requests) == 4


def test_a_question_without_any_neighbour_does_not_end_a_run(database: Database, tmp_path: Path) -> None:
    pairs = [TEST[0], Pair("none", "CCO", "zzz qqq"), TEST[1]]
    options = EvaluationOptions(strategy="learned", shots=2)
    evaluation = evaluate_pairs("cap2mol", pairs, database, tmp_path, "neighbour", options, BackendOptions())
    assert [bool(row.answer.text) for row in evaluation.rows] == [True, False, True]


@pytest.mark.parametrize("direction", ["mol2cap", "cap2mol"])
def test_no_row_is_shown_its_own_molecule(
    direction: Direction, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole test table is in the pool; half of it under other keys and written in another way.
    disguised = [
        Pair(f"other-{pair.key}", canonical_smiles(pair.smiles), pair.caption) if number % 2 else pair
        for number, pair in enumerate(PAIRS)
    ]
    pool = Database(disguised, cache=tmp_path / "cache")
    backend = Recorder()
    result = _evaluate(backend, pool, tmp_path / "out", monkeypatch, direction, shots=len(PAIRS))
    assert len(backend.questions) == len(TEST)
    for question, row in zip(backend.questions, result.rows, strict=True):
        own = next(pair for pair in TEST if pair.key == row.key)
        shown = {canonical_smiles(example.pair.smiles) for example in question.examples}
        assert len(question.examples) == len(PAIRS) - 1
        assert canonical_smiles(own.smiles) not in shown
        assert row.baseline != question.target_of(own)


def test_concurrency_is_bounded_and_rows_end_in_the_order_of_the_table(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Recorder(wait_s=0.05)
    _evaluate(backend, database, tmp_path / "out", monkeypatch, concurrency=3)
    assert backend.most_open == 3
    assert backend.closed
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [pair.key for pair in TEST]
    assert [line["position"] for line in lines] == list(range(len(TEST)))


def test_a_failed_run_keeps_its_rows_and_asks_only_the_others_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _evaluate(Recorder(), database, tmp_path / "whole", monkeypatch)
    broken, repaired = Recorder(fail_on=TEST[7].smiles), Recorder()
    with pytest.raises(InputError, match="the server is gone"):
        _evaluate(broken, database, tmp_path / "out", monkeypatch, concurrency=2)
    assert broken.closed
    assert not (tmp_path / "out" / "scores.json").exists()
    kept = {json.loads(line)["query"] for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()}
    assert len(kept) >= 6
    again = _evaluate(repaired, database, tmp_path / "out", monkeypatch, concurrency=2)
    assert {question.query for question in repaired.questions} == {pair.smiles for pair in TEST} - kept
    assert again == whole
    for name in ("scores.json", "rows.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # a finished run is scored again, and asks nothing
    idle = Recorder()
    assert _evaluate(idle, database, tmp_path / "out", monkeypatch) == whole
    assert not idle.questions


def test_a_run_is_continued_only_with_its_own_settings(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _evaluate(Recorder(), database, out, monkeypatch, shots=3)
    other_pool = Database(PAIRS[1:], cache=tmp_path / "cache")
    other_backend = Recorder()
    other_backend.identity = "another"
    for change, backend, pool, options in [
        ("shots 3, now it is 2", Recorder(), database, {"shots": 2}),
        ("retrieval", Recorder(), database, {"shots": 3, "strategy": "rdkit"}),
        ("backend 'recorder', now it is 'another'", other_backend, database, {"shots": 3}),
        ("pool", Recorder(), other_pool, {"shots": 3}),
    ]:
        with pytest.raises(InputError, match=f"was begun with {change}"):
            _evaluate(backend, pool, out, monkeypatch, **options)  # type: ignore[arg-type]
        assert not backend.questions
    with pytest.raises(InputError, match="was begun with test"):
        _evaluate(Recorder(), database, out, monkeypatch, pairs=TEST[:-1], shots=3)


def test_settings_may_change_until_a_row_is_answered(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="the server is gone"):
        _evaluate(Recorder(fail_on=TEST[0].smiles), database, out, monkeypatch, pairs=TEST[:1], shots=3)
    assert json.loads((out / "config.json").read_text())["shots"] == 3
    _evaluate(Recorder(), database, out, monkeypatch, pairs=TEST[:2], shots=2)
    assert json.loads((out / "config.json").read_text())["shots"] == 2
    with pytest.raises(InputError, match=r"was begun with shots 2, now it is 3; give another --out"):
        _evaluate(Recorder(), database, out, monkeypatch, pairs=TEST[:2], shots=3)


def test_a_foreign_folder_is_never_taken_over(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"format": 1, "shots": 3}')
    with pytest.raises(InputError, match="was begun with"):
        _evaluate(Recorder(), database, tmp_path, monkeypatch)
    assert (tmp_path / "config.json").read_text() == '{"format": 1, "shots": 3}'
    assert not (tmp_path / "rows.jsonl").exists()


def test_scores_stand_beside_those_of_the_nearest_neighbour(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _evaluate(Recorder(), database, tmp_path / "out", monkeypatch, strategy="random", shots=2)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    references = [pair.caption for pair in TEST]
    own = score_captions([f"{pair.smiles}!" for pair in TEST], references).as_json()
    for name in ("bleu2", "bleu4", "rouge1", "rouge2", "rougeL", "meteor"):
        assert scores[name] == own[name]
        assert set(scores[name]) == {"value", "low", "high", "n"}
    # whatever strategy is tried, the baseline copies the nearest by Morgan and Dice
    morgan = create_retriever("morgan", database, "mol2cap")
    nearest = [morgan.retrieve(p.smiles, 1, database.rows_of(key=p.key, smiles=p.smiles))[0] for p in TEST]
    assert [row.baseline for row in result.rows] == [example.pair.caption for example in nearest]
    assert (
        scores["baseline"]["bleu4"] == score_captions([e.pair.caption for e in nearest], references).as_json()["bleu4"]
    )
    assert {origin: count for origin, count in scores["origins"].items() if count} == {"model": len(TEST)}
    assert scores["usage"]["requests"] == len(TEST)
    assert scores["usage"]["prompt_tokens"] == 7 * len(TEST)
    assert scores["settings"]["backend"] == "recorder"
    assert {"rdkit", "molregpt", "nltk"} <= set(scores["versions"])


def test_invalid_molecules_are_counted_on_both_sides(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [replace(TEST[0], smiles="C1CC"), *TEST[1:4]]
    _evaluate(Recorder(), database, tmp_path / "out", monkeypatch, "cap2mol", pairs)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["invalid_predictions"] == 4
    assert scores["invalid_references"] == 1
    assert scores["validity"]["value"] == 0.0


def test_a_molecule_that_cannot_be_read_is_told_before_anything_is_asked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Recorder()
    with pytest.raises(InputError, match=rf"row 3 of the test table \({TEST[2].key}\)"):
        _evaluate(backend, database, tmp_path / "out", monkeypatch, pairs=[*TEST[:2], replace(TEST[2], smiles="C1CC")])
    assert not backend.questions
    assert not (tmp_path / "out").exists()


def test_without_shots_questions_have_no_examples_and_the_baseline_stays(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Recorder()
    bare = _evaluate(backend, database, tmp_path / "bare", monkeypatch, shots=0)
    assert all(not question.examples for question in backend.questions)
    shown = _evaluate(Recorder(), database, tmp_path / "shown", monkeypatch, shots=4)
    assert bare.baseline == shown.baseline


def test_evaluate_reads_its_tables_and_writes_its_report(
    tmp_path: Path, index_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(index_cache))
    tables = {"test": TEST, "one": PAIRS[12:20], "two": PAIRS[20:]}
    for name, pairs in tables.items():
        lines = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in pairs]
        (tmp_path / f"{name}.tsv").write_text("CID\tSMILES\tdescription\n" + "".join(lines))
    options = EvaluationOptions(pool=(tmp_path / "one.tsv", tmp_path / "two.tsv"), limit=5)
    result = evaluate("cap2mol", tmp_path / "test.tsv", tmp_path / "out", "neighbour", options, BackendOptions())
    assert len(result.rows) == 5
    assert {near.key for row in result.rows for near in row.neighbours} <= {pair.key for pair in PAIRS[12:]}
    assert result.scores == result.baseline
    assert "5 rows" in (tmp_path / "out" / "report.html").read_text()
