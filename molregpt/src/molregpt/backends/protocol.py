"""What every back end is to its callers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from molregpt.errors import InputError

if TYPE_CHECKING:
    from molregpt.prompts import Prompt
    from molregpt.records import Answer, Question, Usage


class BackendError(InputError):
    """The server cannot be used as asked: unreachable, refusing, or failing for longer than the retries last."""


class NoExampleError(InputError):
    """The back end answers from examples, and the question has none; others may have."""


class BudgetError(BackendError):
    """The next request could cost more than what is left of the budget; it was not sent."""


@runtime_checkable
class Backend(Protocol):
    """Answers questions; one back end serves many questions at once, within one event loop."""

    @property
    def identity(self) -> str:
        """Names the model, the endpoint and every setting that may change an answer, in one line without secrets."""
        ...

    async def answer(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            InputError: The question cannot be answered by this back end.
            BackendError: The server failed; nothing that was paid for is lost when a cache is set.
        """
        ...

    async def close(self) -> None:
        """Give connections and files back; the back end is not used afterwards."""
        ...


@runtime_checkable
class ServerBackend(Backend, Protocol):
    """A back end that sends prompts to a server, whose answers may cost money."""

    def charge(self, usage: Usage) -> None:
        """Count what was spent before against the budget."""
        ...

    def render(self, question: Question) -> Prompt:
        """The prompt of a question."""
        ...


def name_backend(identity: str) -> str:
    """What people are told of a back end: `MODEL at URL`, its identity without the settings that follow as JSON."""
    return identity.partition(" {")[0]


def name_model(identity: str) -> str:
    """The model of a back end's identity, or the name of a back end that has none."""
    return name_backend(identity).partition(" at http")[0]
