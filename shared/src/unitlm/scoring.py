"""How probable given continuations are: candidates from elsewhere, beside what the model writes itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unitlm.cache import KeyValueCache
from unitlm.errors import InputError
from unitlm.generate import Continuation
from unitlm.language_model import LanguageModel
from unitlm.model import Decoder
from unitlm.sampling import Choices


@torch.inference_mode()
def score_continuations(
    model: LanguageModel, hidden: Tensor, cache: KeyValueCache, choices: Choices, continuations: Sequence[Sequence[int]]
) -> list[Continuation]:
    """Score continuations of one prompt, or of a prompt each, all in one pass.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        hidden: Hidden state of the last step of the one prompt [1, D], or of each [B, D].
        cache: Holds the prompts, in as many rows, with room for the longest continuation; it stays as it is.
        choices: What may be written; with an end token, whose probability counts too.
        continuations: Ids of each, B of them, without the end token.

    Returns:
        The continuations with their log-probabilities, as `generate` counts them.

    Raises:
        InputError: No end token among the choices, an id that is not among them, or neither one prompt nor as many as
            continuations.
    """
    if choices.end is None:
        raise InputError("scoring: need choices with an end token")
    if len(hidden) not in (1, len(continuations)):
        raise InputError(f"scoring: need one prompt or {len(continuations)}, got {len(hidden)}")
    if not continuations:
        return []
    for ids in continuations:
        if any(not choices.start <= unit < choices.stop for unit in ids):
            raise InputError("scoring: a continuation has a unit outside of the alphabet that may be written")
    device = hidden.device
    lengths = torch.tensor([len(ids) for ids in continuations], device=device)
    longest = int(lengths.max())
    padded = torch.full((len(continuations), longest), choices.start, device=device)  # [B, L]
    for row, ids in enumerate(continuations):
        padded[row, : len(ids)] = torch.tensor(ids, device=device)
    states = hidden.expand(len(continuations), -1).unsqueeze(1)  # [B, 1, D]
    if longest:
        read = cache.chosen(torch.arange(len(continuations), device=device) % len(hidden))
        more = read_padded(model, model.embed(padded), lengths.tolist(), read)
        states = torch.cat([states, more], dim=1)  # [B, 1 + L, D]
    end = torch.full((len(continuations), 1), choices.stop - choices.start, device=device)
    columns = torch.cat([padded - choices.start, end], dim=1)
    columns[torch.arange(len(continuations), device=device), lengths] = choices.stop - choices.start
    counted = torch.arange(longest + 1, device=device) <= lengths.unsqueeze(1)  # the padding is not
    logits = choices.scorer(model)(states[counted]).float()  # [M, N]
    losses = torch.split(F.cross_entropy(logits, columns[counted], reduction="none"), (lengths + 1).tolist())
    return [Continuation(tuple(ids), -float(loss.sum()), True) for ids, loss in zip(continuations, losses, strict=True)]


def read_padded(model: LanguageModel, hidden: Tensor, lengths: Sequence[int], cache: KeyValueCache) -> Tensor:
    """States [B, S, D] of embedded rows of different lengths; those behind a row's length mean nothing.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one, which leaves the padding out.
        hidden: Embedded rows [B, S, D].
        lengths: Of each row.
        cache: Holds what comes before; the caller advances it.
    """
    if isinstance(model, Decoder):
        return model.transform(hidden, cache=cache)
    return model.transform(hidden, lengths=lengths, cache=cache)
