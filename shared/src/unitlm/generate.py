"""Batched decoding: prompts of unequal length in, units of one alphabet out.

The steps of every decoder here: one `prefill` over the prompts, then one token a row at a time through the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor

from unitlm.adapt import prompt_ids
from unitlm.alphabet import Content
from unitlm.cache import KeyValueCache
from unitlm.errors import InputError
from unitlm.language_model import LanguageModel
from unitlm.model import Decoder
from unitlm.sampling import GREEDY, Choices, Sampling, choose
from unitlm.task import Task, Values
from unitlm.vocabulary import Vocabulary

# On an accelerator, asking whether all rows have ended waits for the device; so it is asked only so often.
_STEPS_BETWEEN_CHECKS = 16


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the model wrote.

    Attributes:
        ids: Vocabulary ids, without the end token.
        log_probability: Sum of log-probabilities of the ids and of the end token if it came, in nats, among the
            choices that were open and at temperature 1.
        ended: Whether the end token came, or the known length was reached, before the limit.
    """

    ids: tuple[int, ...]
    log_probability: float
    ended: bool


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    choices: Choices,
    *,
    limit: int | None = None,
    lengths: Sequence[int] | None = None,
    prefixes: Sequence[int] | None = None,
    samples: int = 1,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> list[Continuation]:
    """Continue each prompt with units of one alphabet.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        prompts: Token ids of each row; lengths may differ.
        choices: What may be written. With an end token a row stops there, without one at its known length.
        limit: The most units a row may write; needed when `lengths` is not given.
        lengths: The number of units that each row writes, when it is known.
        prefixes: For a prefix LM, how many of each prompt's first ids see each other both ways; all when not given.
        samples: Continuations written for each prompt, of which `best_of` is returned.
        sampling: How units are chosen.
        generator: Source of randomness, on the model's device.

    Returns:
        One continuation a prompt, in order.

    Raises:
        InputError: No prompt, an empty one or one with ids that the model does not have; a limit or length that is
            missing, negative or given twice; no sample.
    """
    if lengths is None and (limit is None or choices.end is None):
        raise InputError("generate: without known lengths, give a limit and choices with an end token")
    if lengths is not None:
        if limit is not None or choices.end is not None or len(lengths) != len(prompts):
            raise InputError("generate: known lengths need one a prompt, no limit and choices without an end token")
        if min(lengths, default=0) < 0:
            raise InputError(f"generate: a length must not be negative, got {min(lengths)}")
    steps = max(lengths, default=0) if lengths is not None else (limit or 0)
    seen = [len(prompt) for prompt in prompts] if prefixes is None else prefixes
    asked = list(zip(map(tuple, prompts), seen, strict=True))
    places = {question: place for place, question in enumerate(dict.fromkeys(asked))}
    hidden, cache = prefill(model, [prompt for prompt, _ in places], steps, [prefix for _, prefix in places])
    if len(places) < len(asked):  # what was read is copied, not read again
        rows = torch.tensor([places[question] for question in asked], device=hidden.device)
        hidden = hidden[rows]
        cache.select(rows)
    return continue_rows(
        model,
        hidden,
        cache,
        choices,
        steps=steps,
        lengths=lengths,
        samples=samples,
        sampling=sampling,
        generator=generator,
    )


def continue_rows(
    model: LanguageModel,
    hidden: Tensor,
    cache: KeyValueCache,
    choices: Choices,
    *,
    steps: int,
    lengths: Sequence[int] | None,
    guides: Tensor | None = None,
    samples: int = 1,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> list[Continuation]:
    """Write what follows rows that have been read.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        hidden: Hidden state of each row's last step [B, D].
        cache: Holds the rows, with room for `steps` more; it is used up.
        choices: What may be written.
        steps: The most units a row may write.
        lengths: The number of units that each row writes, when it is known.
        guides: Vectors [B, steps - 1, D]; the i-th is added to the embedding of the i-th choice.
        samples: Continuations written for each row, of which `best_of` is returned.
        sampling: How units are chosen.
        generator: Source of randomness, on the model's device.

    Returns:
        One continuation a row, in order.

    Raises:
        InputError: No sample, or choices that the model does not have.
    """
    if samples < 1:
        raise InputError(f"generate: samples must be at least 1, got {samples}")
    scorer = choices.scorer(model)
    if not isinstance(model, Decoder):
        from unitlm.engine.writing import write_rows  # compiled code is loaded only where it is used

        return write_rows(
            model,
            hidden,
            cache,
            choices,
            steps=steps,
            lengths=lengths,
            guides=guides,
            samples=samples,
            sampling=sampling,
            generator=generator,
        )
    device = hidden.device
    if samples > 1:  # what was read is copied, not read again
        repeated = torch.arange(len(hidden), device=device).repeat_interleave(samples)
        hidden = hidden[repeated]
        cache.select(repeated)
    count = len(hidden)
    rows = torch.arange(count, device=device)  # which one each row of the shrinking batch is
    columns = torch.full((count, steps), -1, device=device)  # [B, steps], -1 where nothing is written
    scores = torch.zeros(count, device=device)
    wanted = torch.full((count,), steps, device=device)
    if lengths is not None:
        wanted = torch.tensor(lengths, device=device).repeat_interleave(samples)
    ended = (wanted == 0) & (lengths is not None)
    between_checks = 1 if device.type == "cpu" else _STEPS_BETWEEN_CHECKS
    for step in range(steps):
        if step % between_checks == 0:
            active = (~ended[rows]).nonzero().squeeze(1)
            if len(active) == 0:
                break
            # Rows that have ended still cost a full step, so they leave once they are half of the batch.
            if len(active) <= len(rows) // 2:
                rows, hidden = rows[active], hidden[active]
                cache.select(active)
        logits = scorer(hidden).float()
        recent = columns[rows, max(0, step - sampling.repetition_window) : step] if sampling.repetition_window else None
        chosen = choose(logits, sampling, generator, recent)
        open_rows = ~ended[rows]
        gain = F.log_softmax(logits, dim=-1).gather(1, chosen.unsqueeze(1)).squeeze(1)
        scores[rows] += torch.where(open_rows, gain, 0.0)
        ends = choices.is_end(chosen)
        columns[rows, step] = torch.where(open_rows & ~ends, chosen, -1)
        ended[rows] |= ends
        if lengths is not None:
            ended[rows] |= wanted[rows] == step + 1
        if step + 1 < steps:
            embedded = model.embed(choices.to_ids(chosen).unsqueeze(1))  # [B, 1, D]
            if guides is not None:
                embedded = embedded + guides[rows // samples, step].unsqueeze(1)
            hidden = model.transform(embedded, cache=cache).squeeze(1)
            cache.advance(1)
    written = [
        Continuation(tuple(choices.to_ids(row[row >= 0]).tolist()), score, end)
        for row, score, end in zip(columns, scores.tolist(), ended.tolist(), strict=True)
    ]
    return [best_of(written[first : first + samples]) for first in range(0, count, samples)]


def best_of(candidates: Sequence[Continuation]) -> Continuation:
    """The one with the largest mean log-probability a unit, the end counted; what did not end comes after all others.

    The sum alone would prefer the shortest.
    """
    return max(candidates, key=lambda one: (one.ended, one.log_probability / (len(one.ids) + 1)))


def prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], room: int, prefixes: Sequence[int] | None = None
) -> tuple[Tensor, KeyValueCache]:
    """Read all prompts in one pass.

    Args:
        model: A causal decoder.
        prompts: Token ids of each row; lengths may differ.
        room: How many more tokens a row may get: the limit of what is to be written.
        prefixes: For a prefix LM, how many of each prompt's first ids see each other both ways; all when not given.

    Returns:
        The hidden state of each row's last token [B, D], and a cache that holds the prompts.

    Raises:
        InputError: No prompt, an empty one or one with ids that the model does not have, or a negative limit.
    """
    if not prompts or min(map(len, prompts)) == 0:
        raise InputError("generate: needs at least one prompt, and none may be empty")
    if room < 0:
        raise InputError(f"generate: the limit must not be negative, got {room}")
    ids = torch.zeros((len(prompts), max(map(len, prompts))), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    # Looked at here, while the ids are on the host: on an accelerator such an id would take the whole process down.
    decoder = model if isinstance(model, Decoder) else model.decoder
    readable = model.config.vocabulary_size + len(prompt_ids(decoder))
    outside = ((ids < 0) | (ids >= readable)).nonzero().tolist()
    if outside:
        row, column = outside[0]
        where = f"id {int(ids[row, column])} at position {column} of prompt {row}"
        raise InputError(f"generate: {where} is not in 0..{readable - 1}")
    embedded = model.embed(ids.to(model.embedding.weight.device))
    return read_rows(model, embedded, [len(prompt) for prompt in prompts], room, prefixes)


def read_rows(
    model: LanguageModel, embedded: Tensor, lengths: Sequence[int], room: int, prefixes: Sequence[int] | None = None
) -> tuple[Tensor, KeyValueCache]:
    """Read embedded prompts [B, S, D] that hold `lengths` steps each; the rest is as in `prefill`."""
    rows, steps, _ = embedded.shape
    device = embedded.device
    cache = KeyValueCache(model.config, rows, steps + room, device, embedded.dtype)
    prefix = torch.tensor(lengths if prefixes is None else prefixes, device=device)
    prompt = torch.arange(steps, device=device) < prefix.unsqueeze(1)  # [B, S]
    last = torch.tensor(lengths, device=device)
    if isinstance(model, Decoder):
        states = model.transform(embedded, prompt=prompt, cache=cache)  # [B, S, D]
        hidden = states[torch.arange(rows, device=device), last - 1]
    else:
        hidden = model.read(embedded, lengths, prompt=prompt, cache=cache)
    cache.advance(last)
    return hidden, cache


def fill(
    model: LanguageModel,
    vocabulary: Vocabulary,
    task: Task,
    cases: Sequence[Values],
    *,
    limit: int,
    examples: Sequence[Sequence[Values]] | None = None,
    samples: int = 1,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> list[dict[str, Content]]:
    """Fill in the marked slots of a task line for a batch of cases, one link of a chain after the other.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        vocabulary: The ids it was trained with.
        task: The task line.
        cases: For each case the content of the slots that are given.
        limit: The most units a slot may get.
        examples: For each case its examples in context, all slots filled.
        samples: Continuations written for each slot, of which `best_of` is taken.
        sampling: How units are chosen.
        generator: Source of randomness.

    Returns:
        For each case all slots, given and generated.

    Raises:
        InputError: A case or example that does not fit the task line, or not one list of examples a case.
    """
    filled = [dict(case) for case in cases]
    in_context = examples if examples is not None else [()] * len(filled)
    if len(in_context) != len(filled):
        raise InputError(f"fill: {len(filled)} cases, but examples for {len(in_context)}")
    for slot in task.slots:
        rows = [row for row, case in enumerate(filled) if slot.generated and slot.name not in case]
        if not rows:
            continue
        prompts = [task.prompt(filled[row], vocabulary, in_context[row]).ids for row in rows]
        prefixes = None
        if model.config.prefix_lm:
            prefixes = [_prefix(task, filled[row], vocabulary, in_context[row]) for row in rows]
        choices = Choices.of(vocabulary, slot.alphabet)
        written = generate(
            model,
            prompts,
            choices,
            limit=limit,
            prefixes=prefixes,
            samples=samples,
            sampling=sampling,
            generator=generator,
        )
        for row, continuation in zip(rows, written, strict=True):
            filled[row][slot.name] = vocabulary.decode(slot.alphabet, continuation.ids)
    return filled


def _prefix(task: Task, case: Values, vocabulary: Vocabulary, examples: Sequence[Values]) -> int:
    """Ids before the first one that is learned in training: also for the later links of a chain no more than these."""
    given = takewhile(lambda slot: not slot.generated, task.slots)
    return len(task.prompt({slot.name: case[slot.name] for slot in given}, vocabulary, examples).ids)
