"""Training examples: pairs with neighbours of theirs in the context, and exercises on molecules alone.

Each pass over the pairs draws other neighbours, another number of them and other spellings of the molecule, so that
what is learned is to use the neighbours, not to recite the pair. Every draw depends on the seed, the pass and the row
alone: shards can be written in any order, and again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molregpt.database import Database, digest_pairs
from molregpt.local.facts import state_facts
from molregpt.local.language import ANSWERS, COUNT, REWRITE, SPELL, TASKS, fill_slots
from molregpt.local.settings import CorpusConfig
from molregpt.records import Direction, Pair
from molregpt.retrieval.strategies import STANDARD, create_retriever
from unitlm.alphabet import Content
from unitlm.shards import Example, deal, write_shards
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

# Draws are addressed by what they are for, so that adding one leaves the others as they are.
_PAIRS, _MOLECULES = 0, 1


@dataclass(frozen=True, slots=True)
class _Block:
    """What one shard is made of: some rows of one pass in one direction."""

    direction: Direction
    number: int
    rows: Sequence[int]


def write_pair_shards(
    folder: Path,
    pairs: Sequence[Pair],
    pool: Database,
    names: Mapping[str, str],
    vocabulary: Vocabulary,
    config: CorpusConfig,
    prefix: Sequence[int] = (),
) -> tuple[Path, ...]:
    """Write the examples of both directions; shards that are there already are kept.

    Args:
        folder: Where the Parquet files go.
        pairs: What is learned.
        pool: Where neighbours come from; a pair never finds its own molecule.
        names: Systematic names by SMILES, of both.
        vocabulary: Gives the ids.
        config: How.
        prefix: Ids that stand before each example, such as an adapter's learned vectors.

    Returns:
        The shards, in order.
    """
    blocks = [
        _Block(direction, number, rows)
        for number in range(config.passes)
        for direction in TASKS
        for rows in deal(len(pairs), config.rows_per_shard, [config.corpus_seed, number])
    ]
    neighbours = {direction: _Neighbours(direction, pairs, pool, config.depth) for direction in TASKS}

    def examples(block: _Block) -> Iterator[Example]:
        for row in block.rows:
            near = neighbours[block.direction].of(row)
            example = make_example(block.direction, pairs[row], near, names, vocabulary, config, block.number, row)
            if example is not None:
                yield put_before(example, prefix)

    made_of = f"{digest_pairs(pairs)} among {pool.digest} named {_digest_names(names)}"
    provenance = f"pairs dealt {made_of} {sorted(asdict(config).items())} {hash_vocabulary(vocabulary)}"
    if prefix:
        provenance += f" {list(prefix)}"
    return write_shards(folder, blocks, examples, provenance=provenance)


def put_before(example: Example, prefix: Sequence[int]) -> Example:
    """The example with ids before it that are read and not learned."""
    if not prefix:
        return example
    ids = np.concatenate([np.array(prefix, np.int32), example.ids])
    return Example(example.key, ids, np.concatenate([np.zeros(len(prefix), np.bool_), example.loss_mask]))


class _Neighbours:
    """Neighbours of each pair, looked up when they are first needed and kept."""

    def __init__(self, direction: Direction, pairs: Sequence[Pair], pool: Database, depth: int) -> None:
        self._direction, self._pairs, self._pool, self._depth = direction, pairs, pool, depth
        self._retriever = create_retriever(STANDARD[direction], pool, direction)
        self._found: dict[int, list[Pair]] = {}

    def of(self, row: int) -> list[Pair]:
        """The nearest pairs of a row, the most similar first."""
        if row not in self._found:
            pair = self._pairs[row]
            itself = self._pool.rows_of(key=pair.key, smiles=pair.smiles)
            found = self._retriever.retrieve(pair.asked(self._direction), self._depth, itself)
            self._found[row] = [one.pair for one in found]
        return self._found[row]


def make_example(
    direction: Direction,
    pair: Pair,
    neighbours: Sequence[Pair],
    names: Mapping[str, str],
    vocabulary: Vocabulary,
    config: CorpusConfig,
    number: int,
    row: int,
) -> Example | None:
    """One pair with neighbours in its context, the most similar last; None when the pair alone is too long."""

    def fill(shown: Pair, smiles: str) -> dict[str, Content]:
        return fill_slots(direction, smiles, shown.caption, names.get(shown.smiles, ""))

    chance = np.random.default_rng([config.corpus_seed, _PAIRS, number, direction == "cap2mol", row])
    shots = int(chance.integers(1, config.shots + 1)) if number else config.shots
    if chance.random() < config.nearest_share or not neighbours:
        shown = list(neighbours[:shots])
    else:
        count = min(shots, len(neighbours))
        weights = 1.0 / np.arange(1, len(neighbours) + 1)
        drawn = chance.choice(len(neighbours), count, replace=False, p=weights / weights.sum())
        shown = [neighbours[index] for index in sorted(drawn.tolist())]
    smiles = pair.smiles
    if direction == "mol2cap" and chance.random() < config.respelled_share:
        smiles = respell(pair.smiles, int(chance.integers(2**31)))
    if chance.random() < config.unnamed_share:
        names = {}
    scrambled = chance.random() < config.scrambled_share
    if scrambled and chance.random() < config.itself_share:
        shown = [pair] * len(shown)
    example = compile_within(
        TASKS[direction],
        fill(pair, smiles),
        [fill(neighbour, neighbour.smiles) for neighbour in shown],
        vocabulary,
        longest=config.longest,
        learn_examples=scrambled or number < config.learned_passes,
        key=pair.key,
    )
    if not scrambled or example is None:
        return example
    return replace(example, ids=scramble(example.ids, *vocabulary.span(ANSWERS[direction]), chance))


def scramble(ids: NDArray[np.int32], start: int, stop: int, chance: np.random.Generator) -> NDArray[np.int32]:
    """The same sequence in which some ids of an alphabet, few or nearly all, stand for others of it.

    An id is the same one wherever it stands, and no two become one: what is repeated stays repeated.
    """
    moved = start + np.flatnonzero(chance.random(stop - start) < chance.random())
    stands_for = np.arange(max(stop, int(ids.max()) + 1), dtype=np.int32)
    stands_for[moved] = chance.permutation(moved)
    return stands_for[ids]


def compile_within(
    task: Task,
    query: Mapping[str, Content],
    nearest_first: Sequence[Mapping[str, Content]],
    vocabulary: Vocabulary,
    *,
    longest: int,
    learn_examples: bool,
    key: str,
) -> Example | None:
    """Compile with as many of the nearest neighbours as fit into `longest` tokens; None if the query alone does not."""
    compiled = task.compile_within(query, vocabulary, nearest_first[::-1], longest, learn_examples)
    return None if compiled is None else Example.of(key, compiled)


def write_molecule_shards(
    folder: Path,
    smiles: Sequence[str],
    names: Mapping[str, str],
    vocabulary: Vocabulary,
    config: CorpusConfig,
) -> tuple[Path, ...]:
    """Write exercises on molecules alone: names into molecules; where there is none, spellings into others, counts.

    Args:
        folder: Where the Parquet files go.
        smiles: Molecules.
        names: Systematic names of some of them, by SMILES.
        vocabulary: Gives the ids.
        config: How long, how many in other spellings, which seed.
    """

    def examples(rows: Sequence[int]) -> Iterator[Example]:
        for row in rows:
            chance = np.random.default_rng([config.corpus_seed, _MOLECULES, row])
            molecule, name = smiles[row], names.get(smiles[row])
            cases: list[tuple[Task, dict[str, Content]]]
            if name:
                cases = [(SPELL, {"name": name, "molecule": molecule})]
            else:
                other = respell(molecule, int(chance.integers(2**31)))
                cases = [(REWRITE, {"other": other, "molecule": molecule})]
                if (facts := state_facts(molecule)) is not None:
                    cases.append((COUNT, {"molecule": molecule, "facts": facts}))
            for task, values in cases:
                example = compile_within(
                    task, values, (), vocabulary, longest=config.longest, learn_examples=False, key=molecule
                )
                if example is not None:
                    yield example

    made_of = f"{_digest_lines(smiles)} named {_digest_names(names)}"
    provenance = f"molecules dealt {made_of} {sorted(asdict(config).items())} {hash_vocabulary(vocabulary)}"
    blocks = deal(len(smiles), config.rows_per_shard, config.corpus_seed)
    return write_shards(folder, blocks, examples, provenance=provenance)


def respell(smiles: str, seed: int) -> str:
    """The same molecule with its atoms in a random order; the given text where RDKit cannot read it."""
    from rdkit import Chem

    from molindex.smiles import SmilesError, parse_smiles

    try:
        molecule = parse_smiles(smiles)
    except SmilesError:
        return smiles
    order = np.random.default_rng(seed).permutation(molecule.GetNumAtoms()).tolist()
    return str(Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False))


def _digest_names(names: Mapping[str, str]) -> str:
    return _digest_lines(map("=".join, sorted(names.items())))


def _digest_lines(lines: Iterable[str]) -> str:
    """A short digest of lines in their order, for provenance."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:16]


def hash_vocabulary(vocabulary: Vocabulary) -> str:
    """A short digest of a vocabulary, for provenance."""
    return hashlib.sha256(json.dumps(vocabulary.to_json(), sort_keys=True).encode()).hexdigest()[:16]
