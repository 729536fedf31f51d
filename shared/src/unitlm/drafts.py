"""Greedy decoding that checks proposed continuations instead of writing every unit by itself.

A retrieved neighbour's caption, or the units of a similar sentence, often is the answer for long stretches. Such a
draft is laid behind what is written so far and scored in one pass of the model; the part that the model would have
written anyway is accepted, and the model's own choice follows it. The result is that of plain greedy decoding, with
fewer passes.

(Speculative decoding, arXiv 2211.17192, with text in place of a draft model and greedy acceptance; also known as
prompt lookup.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unitlm.cache import KeyValueCache
from unitlm.errors import InputError
from unitlm.generate import Continuation, prefill
from unitlm.language_model import LanguageModel
from unitlm.sampling import Choices

_FIRST_LOOKAHEAD = 4
"""Units of a draft that are checked before it is known to be any good."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A greedy continuation and what it took: `calls` passes of the model, the prompt's included."""

    continuation: Continuation
    calls: int


class DraftBook:
    """Finds, in the drafts, what came after the text that ends as the output does."""

    def __init__(self, drafts: Sequence[Sequence[int]], longest_match: int = 8) -> None:
        """Index the drafts.

        Args:
            drafts: Proposed continuations, the most trusted first.
            longest_match: How many of the last units are compared at the most.
        """
        self.drafts = [tuple(draft) for draft in drafts]
        self.longest_match = longest_match
        self._places: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for number, draft in enumerate(self.drafts):
            for stop in range(1, len(draft)):
                for length in range(1, min(longest_match, stop) + 1):
                    self._places.setdefault(draft[stop - length : stop], []).append((number, stop))
        self._current = (0, 0)

    def propose(self, written: Sequence[int], count: int) -> tuple[int, ...]:
        """Up to `count` units that may follow `written`.

        The longest match wins; among equal ones the place that goes on where the last proposal left off, then the
        first. A match of one unit is trusted only there, since elsewhere it is mostly chance.
        """
        for length in range(min(self.longest_match, len(written)), 0, -1):
            places = self._places.get(tuple(written[-length:]), [])
            number, position = self._current
            onward = [place for place in places if place[0] == number and place[1] >= position]
            if length == 1:
                places = onward[:1]
            if places:
                self._current = (onward or places)[0]
                number, position = self._current
                return self.drafts[number][position : position + count]
        return ()


@torch.inference_mode()
def generate_with_drafts(
    model: LanguageModel,
    prompt: Sequence[int],
    choices: Choices,
    drafts: Sequence[Sequence[int]],
    *,
    limit: int,
    lookahead: int = 16,
) -> Drafted:
    """Continue one prompt greedily, with help from drafts.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        prompt: Token ids.
        choices: What may be written; with an end token.
        drafts: Proposed continuations as ids of the alphabet, without end tokens, the most trusted first.
        limit: The most units to write.
        lookahead: The most proposed units that are checked in one pass.

    Returns:
        The same continuation as `generate` gives with greedy sampling, up to floating-point ties.

    Raises:
        InputError: No end token among the choices, a negative `lookahead`, a draft with an id outside of the alphabet,
            or a prompt or limit that `generate` refuses.
    """
    hidden, cache = prefill(model, [prompt], limit)  # no proposal reaches beyond the limit
    return continue_with_drafts(model, hidden, cache, choices, drafts, limit=limit, lookahead=lookahead)


@torch.inference_mode()
def continue_with_drafts(
    model: LanguageModel,
    hidden: Tensor,
    cache: KeyValueCache,
    choices: Choices,
    drafts: Sequence[Sequence[int]],
    *,
    limit: int,
    lookahead: int = 16,
) -> Drafted:
    """Continue what has been read already; the rest is as in `generate_with_drafts`.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        hidden: Hidden state of the last step [1, D].
        cache: Holds what was read, one row, with room for `limit` more; it is written to.
        choices: What may be written; with an end token.
        drafts: Proposed continuations, the most trusted first.
        limit: The most units to write.
        lookahead: The most proposed units that are checked in one pass.
    """
    if choices.end is None:
        raise InputError("drafts: need choices with an end token")
    if lookahead < 0:
        raise InputError(f"drafts: lookahead must not be negative, got {lookahead}")
    for draft in drafts:
        if any(not choices.start <= unit < choices.stop for unit in draft):
            raise InputError("drafts: a draft has a unit outside of the alphabet that may be written")
    book = DraftBook(drafts)
    read = cache.extent
    hidden = hidden.unsqueeze(1)  # [1, 1, D]
    calls, score = 1, 0.0
    written: list[int] = []
    proposed: tuple[int, ...] = ()
    trust = min(_FIRST_LOOKAHEAD, lookahead)
    while True:
        # Row i scores what follows the proposal's first i units.
        own, gains = choices.best(model, hidden[0])
        own_ids = choices.to_ids(own).tolist()
        accepted = 0
        while accepted < len(proposed) and own_ids[accepted] == proposed[accepted]:
            accepted += 1
        for gain, unit in zip(gains[: accepted + 1].tolist(), own_ids, strict=False):
            if len(written) == limit:
                return Drafted(Continuation(tuple(written), score, ended=False), calls)
            score += gain
            if unit == choices.end:
                return Drafted(Continuation(tuple(written), score, ended=True), calls)
            written.append(unit)
        if len(written) == limit:
            return Drafted(Continuation(tuple(written), score, ended=False), calls)
        # The cache holds everything but the model's own last choice; what it holds of a rejected proposal goes.
        cache.truncate(torch.tensor([read + len(written) - 1], device=hidden.device))
        # Positions that are checked in vain cost time: after a wrong unit fewer are asked for, and more again after
        # right ones.
        trust = min(lookahead, trust if not proposed else 2 * accepted + 1)
        proposed = book.propose(written, min(trust, limit - len(written)))
        ids = torch.tensor([[written[-1], *proposed]], device=hidden.device)
        hidden = model.transform(model.embed(ids), cache=cache)
        cache.advance(ids.shape[1])
        calls += 1
