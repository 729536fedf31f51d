"""From a question to the page that answers it; knows nothing of the program that shows the page."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from molregpt.asking import Found, find_neighbours
from molregpt.backends import ServerBackend, create_backend, name_backend
from molregpt.errors import INPUT_ERRORS, InputError
from molregpt.prompts import render_prompt
from molregpt.records import Question
from molregpt.report.page import render_page
from molregpt.report.views import Chip, Fact, view_molecule, view_neighbours
from molregpt.retrieval.strategies import FOR_ANSWERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from molregpt.backends import Backend, BackendOptions
    from molregpt.database import Database
    from molregpt.prompts import Prompt
    from molregpt.records import Answer, Direction, Origin
    from molregpt.retrieval.options import RetrievalOptions
    from molregpt.web.settings import Limits

_ORIGINS: Mapping[Origin, Chip] = {
    "model": Chip("the model's own answer", kind="strong"),
    "repaired": Chip("the model's answer, asked again"),
    "ranked": Chip("the best of the model's answers"),
    "composed": Chip("put together from several answers and the neighbours'"),
    "candidate": Chip("the best of several attempts"),
    "borrowed": Chip("a neighbour's text, preferred to the model's"),
    "related": Chip("a known molecule akin to the neighbours', or a form of one"),
    "neighbour": Chip("copied from the nearest neighbour"),
}
_LEGENDS: Mapping[Direction, str] = {
    "mol2cap": "Marked: what the neighbour has in common with the molecule, two bonds round each atom.",
    "cap2mol": "Marked: words that the question says too, and what the neighbour has in common with the answer.",
}

_COMMON = 0.2


@dataclass(frozen=True, slots=True)
class Check:
    """Something that an answer was held against; `passed` is None where it is told, not judged."""

    name: str
    passed: bool | None
    detail: str = ""


class Desk:
    """Answers questions, one at a time and all in one thread: a back end belongs to one event loop.

    Attributes:
        backend_name: What answers, for people.
        pairs: Size of the pool.
    """

    def __init__(
        self, backend: str, retrieval: RetrievalOptions, settings: BackendOptions, limits: Limits, shots: int
    ) -> None:
        """Open the pool and the back end.

        Raises:
            InputError: Pool or back end cannot be used.
        """
        from molregpt.database import open_database

        self._retrieval, self._settings, self._limits = retrieval, settings, limits
        self.shots = shots
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._runner = asyncio.Runner()
        self._database: Database = open_database(retrieval.pool)
        self._backend: Backend = self._thread.submit(create_backend, backend, settings, lambda: self._database).result()
        self.backend_name = name_backend(self._backend.identity)
        self.pairs = len(self._database.pairs)

    def warm_up(self) -> None:
        """Read or build the indexes now, so that the first question takes no longer than the others."""
        questions: tuple[tuple[Direction, str], ...] = (("mol2cap", "C"), ("cap2mol", "molecule"))
        for direction, query in questions:
            # A strategy may be for one direction only; who asks for the other is told so.
            with suppress(*INPUT_ERRORS):
                self._thread.submit(self._find, direction, query, 1).result()
        _ = self._common_words

    def answer(self, direction: Direction, query: str, shots: int) -> str:
        """An HTML page with answer, checks, neighbours and prompt, or with what is wrong with the question."""
        try:
            query = query.strip()
            if not query:
                raise InputError("draw a molecule first, or type one" if direction == "mol2cap" else "type something")
            if len(query) > self._limits.longest_query:
                raise InputError(f"the question has more than {self._limits.longest_query} characters")
            if not 0 <= shots <= self._limits.most_shots:
                raise InputError(f"0 to {self._limits.most_shots} examples can be shown, not {shots}")
            job = self._thread.submit(self._answer, direction, query, shots)
            try:
                return job.result(self._limits.request_timeout_s)
            except TimeoutError:
                job.cancel()
                raise InputError(f"no answer within {self._limits.request_timeout_s:g} s") from None
        except INPUT_ERRORS as error:
            return render_page("problem.html.j2", {"title": "No answer", "problem": " ".join(str(error).split())})

    def close(self) -> None:
        """Give back what is held."""
        self._thread.submit(lambda: self._runner.run(self._backend.close())).result()
        self._thread.shutdown(cancel_futures=True)
        self._runner.close()

    def _find(self, direction: Direction, query: str, count: int) -> Found:
        return find_neighbours(direction, query, count, self._retrieval, self._database, default=FOR_ANSWERS)

    def _answer(self, direction: Direction, query: str, shots: int) -> str:
        began = time.perf_counter()
        found = self._find(direction, query, shots)
        retrieved_s = time.perf_counter() - began
        question = Question(direction, query, found.examples)
        answer = self._runner.run(self._backend.answer(question))
        answered_s = time.perf_counter() - began - retrieved_s
        molecule, caption = (query, answer.text) if direction == "mol2cap" else (answer.text, query)
        prompt = self._show_prompt(question)
        return render_page(
            "asked.html.j2",
            {
                "title": "Answer",
                "direction": direction,
                "query": query,
                "answer": answer.text,
                "chip": _ORIGINS[answer.origin],
                "molecule": view_molecule(molecule, width=360, height=260),
                "molecule_smiles": molecule,
                "checks": _check(answer, molecule, caption),
                "neighbours": view_neighbours(
                    found.examples[: self._limits.most_drawn],
                    direction,
                    like=molecule,
                    words=self._telling_words(query) if direction == "cap2mol" else frozenset(),
                ),
                "legend": _LEGENDS[direction],
                "strategy": found.strategy,
                "messages": prompt.messages,
                "tokens": prompt.tokens,
                "is_sent": "://" in self.backend_name,
                "backend": self.backend_name,
                "facts": [
                    Fact("searching", f"{retrieved_s:.2f} s"),
                    Fact("answering", f"{answered_s:.2f} s"),
                    Fact("examples shown", str(len(found.examples))),
                ],
            },
        )

    def _show_prompt(self, question: Question) -> Prompt:
        """The prompt that was sent, or would be to a chat model; but for an identity that the model wrote itself."""
        if isinstance(self._backend, ServerBackend):
            return self._backend.render(question)
        # No budget holds for what is not sent.
        return render_prompt(question, replace(self._settings.prompt, token_budget=None))

    def _telling_words(self, text: str) -> frozenset[str]:
        """Tokens of a description but for those that a fifth of all descriptions hold: they tell nothing."""
        from molindex.tokenization import tokenize

        return frozenset(tokenize(text, "chemistry")) - self._common_words

    @cached_property
    def _common_words(self) -> frozenset[str]:
        from molindex.tokenization import tokenize

        captions = [pair.caption for pair in self._database.pairs]
        held = Counter(token for caption in captions for token in set(tokenize(caption, "chemistry")))
        return frozenset(token for token, count in held.items() if count > _COMMON * len(captions))


def _check(answer: Answer, molecule: str, caption: str) -> list[Check]:
    from molindex.smiles import SmilesError, parse_smiles
    from molregpt.local.facts import state_facts
    from molregpt.relevance.checks import check_properties

    checks = []
    try:
        parsed = parse_smiles(molecule)
    except SmilesError as error:
        checks.append(Check("RDKit reads the molecule", passed=False, detail=str(error)))
    else:
        checks.append(Check("RDKit reads the molecule", passed=True, detail=state_facts(molecule) or ""))
        share = check_properties(caption, parsed)
        detail = "" if share == 1 else f"{100 * share:.0f} % of what the description says of them holds"
        checks.append(Check("Description and molecule agree in elements and charge", share == 1, detail))
    if answer.attempts:
        checks.append(Check("Attempts of the model", None, str(answer.attempts)))
    if answer.usage.prompt_tokens:
        sent = f"{answer.usage.prompt_tokens} sent, {answer.usage.completion_tokens} received"
        checks.append(Check("Tokens", None, sent))
    return checks + [Check("Refused on the way", False, note) for note in answer.notes]


def editor_page(script_url: str) -> str:
    """The page of the molecule editor, which a frame beside a text field of id `smiles` shows.

    Args:
        script_url: Where the browser finds openchemlib.
    """
    return render_page("editor.html.j2", {"title": "Molecule editor", "script_url": script_url})


def unpack_editor(folder: Path) -> Path:
    """Write the editor's script, which ships compressed, into a folder that a server may show."""
    import gzip

    from molregpt.assets import asset

    path = folder / "openchemlib.js"
    path.write_bytes(gzip.decompress(asset("openchemlib.js.gz").read_bytes()))
    return path
