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
    """Search for the most probable continuations of at most `limit` units, of all prompts together.

    The usual search: of the `2 * beams` best continuations of a step, ends among the first `beams` are kept, and the
    first `beams` others go on; it stops when `beams` have ended. One beam is greedy decoding. Hypotheses are ranked by
    log-probability / length ** length_penalty, the length counting the end token (GNMT's rule, arXiv 1609.08144,
    without its constant).

    Several prompts are views of one question, such as one utterance heard several times: there is one answer, and the
    next unit's probability is the geometric mean of what it is after each of them, made to sum to one.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        prompts: Token ids of each view of the prompt; mostly there is one.
        choices: What may be written; with an end token.
        beams: Open hypotheses kept a step, and the most that are returned.
        limit: The most units a hypothesis may have.
        length_penalty: 0 ranks by probability, 1 by mean log-probability a token.
        prefixes: For a prefix LM, how many of each prompt's first ids see each other both ways; all when not given.

    Returns:
        Up to `beams` ended hypotheses, the best first; where none ends within the limit, the best that did not.

    Raises:
        InputError: No end token among the choices, `beams` below 1, or a prompt or limit that `generate` refuses.
    """
    if choices.end is None:
        raise InputError("beam search: needs choices with an end token; a known length is a job for generate()")
    if beams < 1:
        raise InputError(f"beam search: beams must be at least 1, got {beams}")

    hidden, cache = prefill(model, prompts, limit, prefixes)
    views = torch.arange(len(prompts), device=hidden.device)
    scorer = choices.scorer(model)
    scores = torch.zeros(1, device=hidden.device)
    open_columns: list[tuple[int, ...]] = [()]
    finished: list[tuple[float, Continuation]] = []

    def written(columns: tuple[int, ...], score: float, ended: bool) -> Continuation:
        return Continuation(tuple(choices.to_ids(torch.tensor(columns, dtype=torch.int64)).tolist()), score, ended)

    for step in range(limit + 1):
        # The views of a hypothesis stand side by side. Mean logits are, but for a constant, mean log-probabilities.
        logits = scorer(hidden).float()
        logits = logits.view(-1, len(prompts), logits.shape[-1]).mean(dim=1)
        totals = scores.unsqueeze(1) + F.log_softmax(logits, dim=-1)  # [beams, N]
        best, flat = totals.flatten().topk(min(2 * beams, totals.numel()))
        parents, columns = flat // totals.shape[1], flat % totals.shape[1]
        is_end = columns == totals.shape[1] - 1  # the end token is the last column
        ends = is_end[:beams].nonzero().squeeze(1)
        for row, total in zip(parents[ends].tolist(), best[ends].tolist(), strict=True):
            rank = total / float((step + 1) ** length_penalty)
            finished.append((rank, written(open_columns[row], total, ended=True)))
        if step == limit or len(finished) >= beams:
            break
        # A hypothesis has one end, so at least `beams` of the candidates go on.
        parents, columns, scores = (each[~is_end][:beams] for each in (parents, columns, best))
        open_columns = [
            (*open_columns[row], column) for row, column in zip(parents.tolist(), columns.tolist(), strict=True)
        ]
        if len(parents) != len(totals):
            cache.select((parents.unsqueeze(1) * len(prompts) + views).flatten())
        elif not torch.equal(parents, torch.arange(len(parents), device=parents.device)):
            cache.reorder(parents, [len(prompt) for prompt in prompts])
        chosen = choices.to_ids(columns).repeat_interleave(len(prompts))
        hidden = model.transform(model.embed(chosen.unsqueeze(1)), cache=cache).squeeze(1)
        cache.advance(1)
    if not finished:
        return [written(open_columns[0], float(scores[0]), ended=False)]
    finished.sort(key=lambda ranked: -ranked[0])
    return [continuation for _, continuation in finished[:beams]]
