"""The back end for OpenAI-compatible servers: prompt, ask, check, ask again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from molregpt.answering import answer_question, answer_schema
from molregpt.backends.cache import encode_canonical
from molregpt.backends.client import ChatClient
from molregpt.prompts import (
    PROMPT_VERSION,
    load_token_counter,
    read_identity,
    render_expert_request,
    render_prompt,
)
from molregpt.records import Answer, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molregpt.backends.options import BackendOptions
    from molregpt.prompts import Prompt
    from molregpt.records import Question, Reply
    from unitlm.task import Message


class ChatBackend:
    """Answers questions by a model behind an OpenAI-compatible URL.

    Args:
        client: Sends the messages; closed with the back end.
        options: How prompts are written and how often the model is asked again.

    Raises:
        InputError: The tokenizer file cannot be read.
    """

    def __init__(self, client: ChatClient, options: BackendOptions) -> None:
        self.client = client
        self._options = options
        path = options.prompt.prompt_tokenizer
        self._count_tokens = load_token_counter(path)
        # By its content: nearly all of them are called tokenizer.json.
        self._tokenizer = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        """Model, endpoint and the settings that may change an answer, as `MODEL at URL {settings}`."""
        server, prompt = self._options.server, self._options.prompt
        settings = encode_canonical(
            {
                "expert": prompt.expert,
                "extra": server.extra_fields(),
                "max_tokens": server.max_tokens,
                "order": prompt.order,
                "prompt_version": PROMPT_VERSION,
                "repairs": self._options.repairs,
                "response_format": server.response_format,
                "seed": server.seed,
                "temperature": server.temperature,
                "token_budget": prompt.token_budget,
                "tokenizer": self._tokenizer,
            }
        )
        return f"{server.model} at {self.client.endpoint} {settings}"

    def charge(self, usage: Usage) -> None:
        """Count what was spent before against the budget."""
        self.client.account.record(usage)

    def render(self, question: Question, identity: str = "") -> Prompt:
        """The prompt of a question.

        Args:
            question: What is asked.
            identity: The expert who answers; empty for the default of the direction.

        Raises:
            InputError: The query alone is over the token budget.
        """
        return render_prompt(question, self._options.prompt, identity=identity, count_tokens=self._count_tokens)

    async def answer(self, question: Question) -> Answer:
        """Ask the model, check, ask again; see `molregpt.answering.answer_question`.

        Raises:
            InputError: The query alone is over the token budget.
            BackendError: The server failed, or the budget is spent.
        """
        schema = answer_schema(question.direction)
        identity, spent = "", Usage()
        notes: tuple[str, ...] = ()
        if self._options.prompt.expert:
            reply = await self.client.complete(render_expert_request(question))
            identity, spent = read_identity(reply.text), reply.usage
            if not identity:
                notes = ("expert identity: the model wrote none, so the default one stands in",)
        prompt = self.render(question, identity)
        dropped = len(question.examples) - prompt.examples
        if dropped:
            notes = (*notes, f"{dropped} of {len(question.examples)} examples dropped to fit the token budget")

        async def ask(messages: Sequence[Message]) -> Reply:
            return await self.client.complete(messages, schema)

        answer = await answer_question(question, prompt.messages, ask, repairs=self._options.repairs)
        return Answer(answer.text, answer.origin, answer.attempts, spent + answer.usage, notes + answer.notes)

    async def close(self) -> None:
        """Close the client."""
        await self.client.close()
