"""The whole way to a real language model: prompt, HTTP, llama.cpp, SmolLM2-135M, reading and checking of the reply.

The model is far too small to be right; what is tested is that real replies are read, checked, counted and cached.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from molregpt.answering import check_molecule
from molregpt.backends import BackendError, BackendOptions, ServerOptions, create_backend
from molregpt.cli import run
from molregpt.data.shipped import sample_pairs
from molregpt.prompts import PromptOptions
from molregpt.records import Example, Pair, Question, Usage

EXAMPLES = tuple(
    Example(Pair(str(rank), smiles, f"The molecule is {name}. It is an alcohol."), 1 - rank / 10)
    for rank, (smiles, name) in enumerate([("CCO", "ethanol"), ("CO", "methanol"), ("CCCCO", "butan-1-ol")])
)
MOLECULE = Question("mol2cap", "CCCO", EXAMPLES)
CAPTION = Question("cap2mol", "The molecule is propan-1-ol. It is an alcohol.", EXAMPLES)


def answer_all(url, cache, questions, **kwargs):
    server = ServerOptions(**({"model": "smollm2", "max_tokens": 48, "seed": 1, "cache": cache} | kwargs))
    options = BackendOptions(server=server, prompt=PromptOptions(token_budget=1500), repairs=1)

    async def run():
        backend = create_backend(url, options)
        try:
            return await asyncio.gather(*(backend.answer(question) for question in questions))
        finally:
            await backend.close()

    return asyncio.run(run())


def test_few_shot_prompts_are_answered_in_both_directions(smollm2_url, tmp_path):
    caption, molecule = answers = answer_all(smollm2_url, tmp_path / "cache.sqlite", [MOLECULE, CAPTION])
    # The examples make even this model write the asked-for JSON, so the answers are its own.
    assert [answer.origin for answer in answers] == ["model", "model"]
    assert caption.text.startswith("The molecule is")
    assert check_molecule(molecule.text).problem == ""
    for answer in answers:
        assert answer.usage.requests == 1
        assert answer.usage.prompt_tokens > 100
        assert 0 < answer.usage.completion_tokens <= 48
    again = answer_all(smollm2_url, tmp_path / "cache.sqlite", [MOLECULE, CAPTION])
    assert [answer.text for answer in again] == [caption.text, molecule.text]
    assert [answer.usage for answer in again] == [Usage(cached=1)] * 2


def test_a_server_that_knows_schemas_keeps_to_them_without_examples(smollm2_url):
    bare = Question("mol2cap", "CCCO", ())
    [answer] = answer_all(smollm2_url, None, [bare], response_format="json_schema", max_tokens=40)
    assert answer.text
    assert all("no JSON object" not in note for note in answer.notes)


def test_a_prompt_longer_than_the_models_context_is_a_clear_error(smollm2_url):
    long = Question("mol2cap", "C" * 30_000, ())
    options = BackendOptions(server=ServerOptions(model="smollm2", max_tokens=8))
    backend = create_backend(smollm2_url, options)
    with pytest.raises(BackendError, match=r"status 400: .*context"):
        asyncio.run(backend.answer(long))


@pytest.mark.parametrize("direction", ["mol2cap", "cap2mol"])
def test_evaluate_runs_ten_rows_through_the_model(direction, smollm2_url, tmp_path, index_cache, monkeypatch, capsys):
    monkeypatch.setenv("MOLREGPT_CACHE", str(index_cache))
    ten = sorted(sample_pairs(), key=lambda pair: len(pair.smiles + pair.caption))[:10]
    lines = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in ten]
    (tmp_path / "test.tsv").write_text("CID\tSMILES\tdescription\n" + "".join(lines), encoding="utf-8")
    out = tmp_path / "run"
    arguments = ["evaluate", direction, "--test", str(tmp_path / "test.tsv"), "--out", str(out), "--json"]
    arguments += ["--backend", smollm2_url, "--model", "smollm2", "--shots", "1", "--max-tokens", "96"]
    arguments += ["--token-budget", "700", "--repairs", "0"]
    assert run(arguments) == 0
    scores = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["key"] for row in rows] == [pair.key for pair in ten]
    assert sum(scores["origins"].values()) == 10
    assert scores["origins"]["model"] >= 1  # one example shows even this model what an answer looks like, sometimes
    assert scores["usage"]["requests"] >= 10
    first = "bleu4" if direction == "mol2cap" else "validity"
    assert scores[first]["n"] == 10
    # asked again, everything is there: not one request more
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == scores
