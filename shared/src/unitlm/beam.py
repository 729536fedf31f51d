"""Beam search over units of one alphabet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from unitlm.errors import InputError
from unitlm.generate import Continuation, prefill
from unitlm.language_model import LanguageModel
from unitlm.sampling import Choices


@torch.inference_mode()
def beam_search(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    choices: Choices,
    *,
    beams: int,
    limit: int,
    length_penalty: float = 0.0,
    prefixes: Sequence[int] | None = None,
) -> list[Continuation]:
    """The most probable continuations that end within `limit` units, of all prompts together.

    Hypotheses are ranked by log-probability / length ** length_penalty, the length counting the end token (GNMT's rule,
    arXiv 1609.08144, without its constant). The search stops when no open hypothesis can still enter the list.

    Several prompts are versions of one question, such as one utterance heard several times: there is one answer, and
    the next unit's probability is the geometric mean of what it is after each of them, made to sum to one.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        prompts: Token ids of each version of the prompt; mostly there is one.
        choices: What may be written; with an end token.
        beams: Open hypotheses kept a step, and the most that are returned.
        limit: The most units a hypothesis may have.
        length_penalty: 0 ranks by probability, 1 by mean log-probability a token.
        prefixes: For a prefix LM, how many of each prompt's first ids see each other both ways; all when not given.

    Returns:
        Up to `beams` ended hypotheses, the best first.

    Raises:
        InputError: No end token among the choices, `beams` below 1, or a prompt or limit that `generate` refuses.
    """
    if choices.end is None:
        raise InputError("beam search: needs choices with an end token; a known length is a job for generate()")
    if beams < 1:
        raise InputError(f"beam search: beams must be at least 1, got {beams}")

    def rank(score: float, units: int) -> float:
        return score / float((units + 1) ** length_penalty)

    def best_possible(score: float, units: int) -> float:
        # Scores only fall, so a positive penalty favours the longest and a negative one the shortest continuation.
        return rank(score, limit if length_penalty > 0 else units)

    hidden, cache = prefill(model, prompts, limit, prefixes)
    versions = torch.arange(len(prompts), device=hidden.device)
    scorer = choices.scorer(model)
    scores = torch.zeros(1, device=hidden.device)
    open_columns: list[tuple[int, ...]] = [()]
    finished: list[tuple[float, Continuation]] = []
    for step in range(limit + 1):
        # The versions of a hypothesis stand side by side. Mean logits are, but for a constant, mean log-probabilities.
        logits = scorer(hidden).float()
        logits = logits.view(-1, len(prompts), logits.shape[-1]).mean(dim=1)
        log_probabilities = F.log_softmax(logits, dim=-1)  # [beams, N]
        totals = scores.unsqueeze(1) + log_probabilities
        for row, total in enumerate(totals[:, -1].tolist()):  # the end token is the last column
            ids = tuple(choices.to_ids(torch.tensor(open_columns[row], dtype=torch.int64)).tolist())
            finished.append((rank(total, step), Continuation(ids, total, ended=True)))
        finished.sort(key=lambda ranked: -ranked[0])
        del finished[beams:]
        if step == limit:
            break
        units = totals[:, :-1]
        best, flat = units.flatten().topk(min(beams, units.numel()))
        if len(finished) == beams and finished[-1][0] >= best_possible(float(best[0]), step + 1):
            break
        parents, columns = flat // units.shape[1], flat % units.shape[1]
        open_columns = [
            (*open_columns[row], column) for row, column in zip(parents.tolist(), columns.tolist(), strict=True)
        ]
        scores = best
        cache.select((parents.unsqueeze(1) * len(prompts) + versions).flatten())
        chosen = choices.to_ids(columns).repeat_interleave(len(prompts))
        hidden = model.transform(model.embed(chosen.unsqueeze(1)), cache=cache).squeeze(1)
        cache.advance(1)
    return [continuation for _, continuation in finished]
