"""Learns how much a neighbour's answer is worth, from pairs whose answers are known.

Each pair asks, the pool answers without the pair itself, and the overlap of each neighbour's answer with the pair's own
is what is learned: for captions the mean F1 of n-grams, for molecules the mean Tanimoto of three fingerprints. The loss
wants two things, that the neighbour which is chosen has a good answer (the expected overlap under a softmax over the
neighbours, a smooth form of taking the best) and that the estimate is an overlap (squared error).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from molregpt.console import messages
from molregpt.database import Database
from molregpt.errors import InputError
from molregpt.records import DIRECTIONS, Direction, Example, Pair
from molregpt.relevance.figures import describe_neighbours
from molregpt.relevance.likeness import caption_similarities
from molregpt.relevance.molecules import compare_scored, profile_molecule
from molregpt.relevance.network import DEPTH, Network, Relevance
from molregpt.relevance.settings import RelevanceSettings
from molregpt.retrieval.strategies import STANDARD, create_retriever

_HIDDEN, _DROPOUT = 64, 0.1


@dataclass(frozen=True, slots=True)
class Gain:
    """What sorting gains on held-out pairs of one direction.

    Attributes:
        nearest: Mean overlap of the nearest neighbour's answer with the right one.
        chosen: That of the one that the network puts first.
        best_possible: That of the best of them.
        pairs: How many pairs.
    """

    nearest: float
    chosen: float
    best_possible: float
    pairs: int


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """Figures `[P, N, F]` of the neighbours of P pairs, and the overlaps `[P, N]` of their answers."""

    figures: NDArray[np.float32]
    overlaps: NDArray[np.float32]


def learn_relevance(
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    pool: Database,
    name: Callable[[str], str],
    settings: RelevanceSettings,
) -> tuple[Relevance, dict[Direction, Gain]]:
    """Learn both directions.

    Args:
        pairs: What asks.
        held_out: Pairs that only measure.
        pool: What answers; it may hold the pairs, which never find themselves.
        name: Gives the systematic name of a molecule, or nothing.
        settings: How.

    Raises:
        InputError: The pool is too small.
    """
    if len(pool.pairs) <= DEPTH:
        raise InputError(f"relevance: needs a pool of more than {DEPTH} pairs, got {len(pool.pairs)}")
    networks: dict[Direction, Network] = {}
    gains: dict[Direction, Gain] = {}
    for direction in DIRECTIONS:
        networks[direction] = _fit(_collect(direction, pairs, pool, name, "learning from"), settings)
        cases = _collect(direction, held_out, pool, name, "measuring on")
        chosen = [int(networks[direction].estimate(case).argmax()) for case in cases.figures.astype(np.float64)]
        rows = np.arange(len(chosen))
        gains[direction] = Gain(
            float(cases.overlaps[:, 0].mean()),
            float(cases.overlaps[rows, chosen].mean()),
            float(cases.overlaps.max(axis=1).mean()),
            len(chosen),
        )
    return Relevance(networks), gains


def _collect(
    direction: Direction, pairs: Sequence[Pair], pool: Database, name: Callable[[str], str], doing: str
) -> _Cases:
    from molindex.smiles import SmilesError

    retriever = create_retriever(STANDARD[direction], pool, direction)
    figures, overlaps = [], []
    for pair in track(pairs, f"{doing} {direction}", console=messages(), transient=True):
        query = pair.asked(direction)
        try:
            found = retriever.retrieve(query, DEPTH, pool.rows_of(key=pair.key, smiles=pair.smiles))
            described = describe_neighbours(direction, query, found, name)
            overlap = _overlap_with(direction, pair, described.examples, name)
        except SmilesError:
            continue
        # Rows of one length make one array; a pair with an unreadable neighbour is one in thousands.
        if len(described.examples) == DEPTH:
            figures.append(described.figures.astype(np.float32))
            overlaps.append(overlap.astype(np.float32))
    if not figures:
        raise InputError(f"relevance: no pair has {DEPTH} neighbours ({direction})")
    return _Cases(np.stack(figures), np.stack(overlaps))


def _overlap_with(
    direction: Direction, pair: Pair, examples: Sequence[Example], name: Callable[[str], str]
) -> NDArray[np.float64]:
    if direction == "mol2cap":
        return caption_similarities([example.pair.caption for example in examples], [pair.caption])[:, 0]
    profiles = [profile_molecule(one.smiles, name(one.smiles)) for one in (pair, *(item.pair for item in examples))]
    return compare_scored(profiles[1:], profiles[:1])[:, 0]


def _fit(cases: _Cases, settings: RelevanceSettings) -> Network:
    flat = cases.figures.reshape(-1, cases.figures.shape[2])
    mean, scale = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    figures = torch.from_numpy((cases.figures - mean) / scale)
    overlaps = torch.from_numpy(cases.overlaps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = nn.Sequential(
            nn.Linear(figures.shape[2], _HIDDEN),
            nn.SiLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, 1),
        )
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=1e-3)
        batches = -(-len(figures) // settings.batch)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, settings.epochs * batches)
        for _ in range(settings.epochs):
            for rows in torch.split(torch.randperm(len(figures)), settings.batch):
                loss = _loss(model(figures[rows])[..., 0], overlaps[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    first, second, third = ((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers)
    return Network(mean, scale, (first[0], second[0], third[0]), (first[1], second[1], third[1]))


def _loss(scores: Tensor, overlaps: Tensor) -> Tensor:
    expected = (torch.softmax(scores, dim=1) * overlaps).sum(dim=1).mean()
    return (torch.sigmoid(scores) - overlaps).square().mean() - expected
